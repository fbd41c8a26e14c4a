// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestDecode(t *testing.T) {
	many := func(n int) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(`{"name":"c%d","status":"PASS"}`, i)
		}
		return `{"checkers":[` + strings.Join(items, ",") + `]}`
	}
	for name, tc := range map[string]struct {
		body    string
		wantErr string
		want    []Checker
	}{
		"takes what the original's checkers send": {
			body: `{"probeName":"k8s","probeNamespace":"kubeprober","checkers":[{"name":"dns","status":"PASS","message":"","lastRun":"2026-11-22T12:00:00Z"}]}`,
			want: []Checker{{Name: "dns", Status: "PASS"}},
		},
		"takes status words in any case": {
			body: `{"checkers":[{"name":"a","status":"pass"},{"name":"b","status":" Warn ","message":"m"}]}`,
			want: []Checker{{Name: "a", Status: "PASS"}, {Name: "b", Status: "WARN", Message: "m"}},
		},
		"ignores fields that it does not know": {
			body: `{"checkers":[{"name":"a","status":"PASS","colour":"red"}],"v":2}`,
			want: []Checker{{Name: "a", Status: "PASS"}},
		},
		"says so when a bad verdict has no message": {
			body: `{"checkers":[{"name":"a","status":"ERROR"}]}`,
			want: []Checker{{Name: "a", Status: "ERROR", Message: "the checker gave no message"}},
		},
		"takes terminal sequences out of messages": {
			body: `{"checkers":[{"name":"a","status":"WARN","message":"\u001b[31mred\u001b[0m\nline"}]}`,
			want: []Checker{{Name: "a", Status: "WARN", Message: "[31mred [0m line"}},
		},
		"takes as many checkers as the bound": {body: many(kubeproberv1.MaxCheckers)},
		"refuses more checkers than the bound": {
			body: many(kubeproberv1.MaxCheckers + 1), wantErr: "1001 checkers are more than 1000",
		},
		"refuses an empty body":              {body: ``, wantErr: "parsing report"},
		"refuses truncated JSON":             {body: `{"checkers":[{"name":"a"`, wantErr: "parsing report"},
		"refuses something behind the JSON":  {body: `{"checkers":[{"name":"a","status":"PASS"}]} x`, wantErr: "something follows"},
		"refuses a report without checkers":  {body: `{"checkers":[]}`, wantErr: "checkers is empty"},
		"refuses a checker without a name":   {body: `{"checkers":[{"name":" ","status":"PASS"}]}`, wantErr: "checkers[0]: name is empty"},
		"refuses a name that is too long":    {body: `{"checkers":[{"name":"` + strings.Repeat("n", 254) + `","status":"PASS"}]}`, wantErr: "more than 253"},
		"refuses a name with control codes":  {body: `{"checkers":[{"name":"a\u0007b","status":"PASS"}]}`, wantErr: "cannot be printed"},
		"refuses an unknown status word":     {body: `{"checkers":[{"name":"a","status":"GREEN"}]}`, wantErr: `status "GREEN" of checker "a" is none of`},
		"refuses the same checker twice":     {body: `{"checkers":[{"name":"a","status":"PASS"},{"name":"a","status":"WARN"}]}`, wantErr: `checker "a" stands twice`},
		"refuses a time that is not RFC3339": {body: `{"checkers":[{"name":"a","status":"PASS","lastRun":"yesterday"}]}`, wantErr: "parsing report"},
		"refuses a body over one mebibyte":   {body: `{"checkers":[{"name":"a","status":"PASS","message":"` + strings.Repeat("x", MaxBytes) + `"}]}`, wantErr: ErrTooLarge.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Decode(strings.NewReader(tc.body))
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatalf("got error %v", err)
			}
			for i, want := range tc.want {
				got := r.Checkers[i]
				if got.Name != want.Name || got.Status != want.Status || got.Message != want.Message {
					t.Errorf("checker %d: got %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

func TestCleanText(t *testing.T) {
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"leaves printable text alone":         {in: "grüße, 世界", limit: 20, want: "grüße, 世界"},
		"replaces invalid UTF-8":              {in: "a\xff\xfeb", limit: 20, want: "a\ufffdb"},
		"makes control characters spaces":     {in: "a\x00b\x1bc", limit: 20, want: "a b c"},
		"drops text direction overrides":      {in: "a\u202eb", limit: 20, want: "a b"},
		"cuts by characters and marks it":     {in: "äöüäöü", limit: 4, want: "äöü…"},
		"trims white space at the ends":       {in: " \n a \t", limit: 20, want: "a"},
		"cuts a megabyte to the limit":        {in: strings.Repeat("ä", 1<<20), limit: 3, want: "ää…"},
		"keeps text of exactly the limit":     {in: "abcd", limit: 4, want: "abcd"},
		"turns text of blanks into no text":   {in: "\n\n", limit: 4, want: ""},
		"makes newlines within a line spaces": {in: "a\nb", limit: 4, want: "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := CleanText(tc.in, tc.limit); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"probeName":"k8s","checkers":[{"name":"dns","status":"PASS","message":"m","lastRun":"2026-11-22T12:00:00Z"}]}`)
	f.Add(`{"checkers":[{"name":"\u202e","status":"warn","message":"\u001b[2J"}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := Decode(strings.NewReader(body))
		if err != nil {
			return
		}
		for _, c := range r.Checkers {
			if c.Status.Severity() < 0 || c.Name == "" {
				t.Fatalf("accepted checker %+v", c)
			}
			if !utf8.ValidString(c.Message) || utf8.RuneCountInString(c.Message) > kubeproberv1.MaxMessageLength {
				t.Fatalf("accepted message %q", c.Message)
			}
			if strings.ContainsFunc(c.Message, unicode.IsControl) {
				t.Fatalf("accepted control characters in %q", c.Message)
			}
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("encoding an accepted report: %v", err)
		}
		if _, err := Decode(strings.NewReader(string(encoded))); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("an accepted report is refused when sent again: %v", err)
		}
	})
}
