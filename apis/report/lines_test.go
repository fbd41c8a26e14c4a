// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestParseLine(t *testing.T) {
	for name, tc := range map[string]struct {
		line, want, wantErr string
	}{
		"a result":                           {line: "coredns ok", want: "coredns=PASS:"},
		"one with a message":                 {line: "coredns error  2 of 3 pods ", want: "coredns=ERROR:2 of 3 pods"},
		"pass for ok":                        {line: "a pass", want: "a=PASS:"},
		"words in any case":                  {line: "a WaRn x", want: "a=WARN:x"},
		"tabs between the words":             {line: "a\tunknown\tno rights", want: "a=UNKNOWN:no rights"},
		"a bad verdict without a message":    {line: "a error", want: "a=ERROR:the checker gave no message"},
		"colours in the message":             {line: "a warn \x1b[31mred\x1b[0m", want: "a=WARN:[31mred [0m"},
		"bytes that are no text":             {line: "a warn \xff\xfe", want: "a=WARN:\ufffd"},
		"another word than a status":         {line: "a green", wantErr: `"a green" has no ok, info, warn, error or unknown after the name`},
		"a name alone":                       {line: "a", wantErr: "after the name"},
		"nothing":                            {line: " ", wantErr: "after the name"},
		"a name that is too long":            {line: strings.Repeat("n", 254) + " ok", wantErr: "more than 253"},
		"a name with control characters":     {line: "a\x07b ok", wantErr: "cannot be printed"},
		"a message of a mebibyte":            {line: "a info " + strings.Repeat("x", 1<<20), want: "a=INFO:" + strings.Repeat("x", 1023) + "…"},
		"a status of a mebibyte is not told": {line: "a " + strings.Repeat("x", 1<<20), wantErr: "…\" has no ok"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseLine(tc.line)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) || len(err.Error()) > 1000 {
					t.Errorf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if text := fmt.Sprintf("%s=%s:%s", got.Name, got.Status, got.Message); err != nil || text != tc.want {
				t.Errorf("got %q and error %v, want %q", text, err, tc.want)
			}
		})
	}
}

func TestParseOutput(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "c%d ok\n", i)
		}
		return b.String()
	}
	for name, tc := range map[string]struct {
		output string
		want   string
		faults string
		last   string
	}{
		"results, one a line":         {output: "dns ok fine\netcd error down\n", want: "dns=PASS etcd=ERROR", last: "etcd error down"},
		"other text between them":     {output: "starting\ndns ok\n\n2 done.\n", want: "dns=PASS", last: "2 done."},
		"the last line of a name":     {output: "a ok\nb ok\na error x\n", want: "a=ERROR b=PASS", last: "a error x"},
		"lines that end as elsewhere": {output: "a ok\r\nb warn x\r", want: "a=PASS b=WARN", last: "b warn x"},
		"names with punctuation":      {output: "10.0.0.1:2379 error refused\nk8s/etcd-0 ok\ndisk(/var) ok\n", want: "10.0.0.1:2379=ERROR k8s/etcd-0=PASS disk(/var)=PASS", last: "disk(/var) ok"},
		"nothing":                     {},
		"blank lines":                 {output: "\n \n\t\n"},
		"control characters only":     {output: "\x1b\x00\n"},
		"the last line that says something": {
			output: "connecting\nrefused\n\n\x00\n", last: "refused",
		},
		"prose is text, not results": {
			output: "No error found\nall ok\nAn unknown thing\nError: unknown command\nsome info for you\nconnecting, ok\n", last: "connecting, ok",
		},
		"logs are text, not results": {
			output: "2026-11-22T15:00:00Z INFO starting\n15:00:00 error refused\n[main] ERROR x\nINFO error y\nlevel=info error z\n\"q\" ok\n", last: `"q" ok`,
		},
		"a word that is no status is told beside results": {
			output: "dns ok\netcd failed quorum lost\n", want: "dns=PASS", faults: `"etcd failed quorum lost" has no ok`, last: "etcd failed quorum lost",
		},
		"and is text when there are none": {output: "etcd failed quorum lost\n", last: "etcd failed quorum lost"},
		"a name that is too long is told": {
			output: "dns ok\n" + strings.Repeat("n", 254) + " error x\n", want: "dns=PASS", faults: "more than 253", last: strings.Repeat("n", 254) + " error x",
		},
		"more results than are kept are told": {output: many(1003), faults: "1003 results are more than 1000", last: "c1002 ok"},
		"faults are bounded":                  {output: "dns ok\n" + strings.Repeat("a failed\n", 500), want: "dns=PASS", faults: "and 495 more", last: "a failed"},
		"only the end of a long output is read": {
			output: "early error x\n" + strings.Repeat("0123456789abcdef\n", MaxOutputBytes/17) + "late ok\n", want: "late=PASS", last: "late ok",
		},
		"a line that is cut is not read": {
			output: strings.Repeat("y", 100) + " error " + strings.Repeat("z ok ", MaxOutputBytes/5) + "\nb ok\n", want: "b=PASS", last: "b ok",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := ParseOutput(tc.output)
			var got []string
			for _, c := range out.Checkers {
				got = append(got, fmt.Sprintf("%s=%s", c.Name, c.Status))
			}
			if text := strings.Join(got, " "); tc.want != "" && text != tc.want || tc.want == "" && tc.faults == "" && text != "" {
				t.Errorf("got %s, want %s", text, tc.want)
			}
			if len(out.Checkers) > kubeproberv1.MaxCheckers {
				t.Errorf("%d results", len(out.Checkers))
			}
			if faults := strings.Join(out.Faults, "; "); !strings.Contains(faults, tc.faults) || (tc.faults == "") != (faults == "") {
				t.Errorf("faults %q, want %q", faults, tc.faults)
			}
			if out.Last != tc.last {
				t.Errorf("last line %q, want %q", out.Last, tc.last)
			}
		})
	}
}

func FuzzParseOutput(f *testing.F) {
	f.Add("dns ok fine\netcd error down\n")
	f.Add("dns ok\netcd failed\n\x1b[31mred\x00\xff unknown \u202e\r\n")
	f.Add("2026-11-22 INFO x\n= ok\n: error\n")
	f.Fuzz(func(t *testing.T, output string) {
		out := ParseOutput(output)
		if len(out.Checkers) == 0 {
			if out.Faults != nil {
				t.Fatalf("faults %q of an output without results", out.Faults)
			}
		} else if out.Last == "" {
			t.Fatal("results without a last line")
		}
		if len(out.Faults) > maxLineFaults+2 {
			t.Fatalf("%d faults", len(out.Faults))
		}
		checkText(t, out.Last)
		if len(out.Checkers) == 0 {
			return
		}
		// What is understood is a report that would be taken.
		r := Report{Checkers: append([]Checker(nil), out.Checkers...)}
		if err := r.Normalize(); err != nil {
			t.Fatalf("results that cannot be reported: %v", err)
		}
		for i, c := range r.Checkers {
			if c != out.Checkers[i] {
				t.Fatalf("result %+v is not in its one form", out.Checkers[i])
			}
			checkText(t, c.Message)
		}
	})
}

func checkText(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > kubeproberv1.MaxMessageLength || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("text %q is not fit to be shown", text)
	}
}
