// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

// readPreface parses what r gives, as it comes.
func readPreface(r io.Reader) ([]byte, error) {
	var got []byte
	buf := make([]byte, 512)
	for {
		n, readErr := r.Read(buf)
		got = append(got, buf[:n]...)
		if rest, err := ParsePreface(got); rest != nil || err != nil {
			return rest, err
		}
		if readErr != nil {
			return nil, readErr
		}
	}
}

func TestReadPreface(t *testing.T) {
	cases := []struct {
		name string
		wire io.Reader
		rest string
		err  error
	}{
		{"a preface alone", strings.NewReader(Preface), "", nil},
		{"a preface with more behind it", strings.NewReader(Preface + "more"), "more", nil},
		{"a preface byte by byte", iotest.OneByteReader(strings.NewReader(Preface)), "", nil},
		{"something else", strings.NewReader("HTTP/1.1 400 Bad Request\r\n"), "", ErrPreface},
		{"another version", strings.NewReader("kubeprober-stream/1\n"), "", ErrPreface},
		{"half a preface", strings.NewReader(Preface[:7]), "", io.EOF},
		{"nothing", strings.NewReader(""), "", io.EOF},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			rest, err := readPreface(tc.wire)
			if string(rest) != tc.rest || !errors.Is(err, tc.err) {
				t.Errorf("%q, %v, want %q, %v", rest, err, tc.rest, tc.err)
			}
		})
	}
}

func TestRefusalsCarryTheirReason(t *testing.T) {
	cases := []struct{ name, reason, want string }{
		{"a reason arrives as it is", "no such target", "no such target"},
		{"a reason of two lines arrives as one", "one\ntwo", "one two"},
		{"a long reason is cut", strings.Repeat("x", 1000), strings.Repeat("x", maxPreface-len(refusalStart)-1)},
		{"no reason is one too", "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, wire := range []io.Reader{
				strings.NewReader(Refusal(tc.reason)),
				iotest.OneByteReader(strings.NewReader(Refusal(tc.reason))),
			} {
				_, err := readPreface(wire)
				var refused *RefusedError
				if !errors.As(err, &refused) || refused.Reason != tc.want {
					t.Errorf("%v, want %q", err, tc.want)
				}
			}
		})
	}
}

func FuzzReadPreface(f *testing.F) {
	f.Add([]byte(Preface))
	f.Add([]byte(Preface + "rest"))
	f.Add([]byte("kubeprober"))
	f.Add([]byte(Refusal("why")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wire []byte) {
		whole, wholeErr := readPreface(bytes.NewReader(wire))
		_, pieceErr := readPreface(iotest.OneByteReader(bytes.NewReader(wire)))
		if fmt.Sprint(wholeErr) != fmt.Sprint(pieceErr) {
			t.Fatalf("whole: %v, byte by byte: %v", wholeErr, pieceErr)
		}
		if wholeErr == nil && !bytes.HasPrefix(wire, append([]byte(Preface), whole...)) {
			t.Fatalf("the rest %q is not what follows", whole)
		}
	})
}

func TestClusterNames(t *testing.T) {
	cases := []struct {
		name string
		ok   bool
	}{
		{"erda-cloud", true},
		{"a", true},
		{"0", true},
		{"edge-2", true},
		{strings.Repeat("a", 63), true},
		{"", false},
		{"-a", false},
		{"a-", false},
		{"a.b", false},
		{"a/b", false},
		{"A", false},
		{"a_b", false},
		{"a::b", false},
		{strings.Repeat("a", 64), false},
		{"ä", false},
		{"a\n", false},
	}
	for _, tc := range cases {
		if err := CheckClusterName(tc.name); (err == nil) != tc.ok {
			t.Errorf("%q: %v", tc.name, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("edge-1")
	f.Add("Edge.1")
	f.Add("4a1c0f7e-0000-4000-8000-000000000001")
	f.Add(strings.Repeat("a", 64))
	label := regexp.MustCompile(`\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\z`)
	uid := regexp.MustCompile(`\A[-a-zA-Z0-9]{1,64}\z`)
	f.Fuzz(func(t *testing.T, text string) {
		if err := CheckClusterName(text); (err == nil) != label.MatchString(text) {
			t.Errorf("cluster name %q: %v", text, err)
		}
		if err := CheckUID(text); (err == nil) != uid.MatchString(text) {
			t.Errorf("UID %q: %v", text, err)
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
