// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package environ

import (
	"strings"
	"testing"
	"time"
)

func TestValuesAreReadWithinTheirBounds(t *testing.T) {
	tests := map[string]struct {
		value string
		read  func(s *Settings) any
		want  any
		wrong string
	}{
		"an unset text is the fallback":     {"", func(s *Settings) any { return s.Text("X", "f") }, "f", ""},
		"white space does not count":        {"  a b ", func(s *Settings) any { return s.Text("X", "f") }, "a b", ""},
		"a list leaves out what is empty":   {"a, ,b,", func(s *Settings) any { return strings.Join(s.List("X", ""), "|") }, "a|b", ""},
		"a list has a fallback":             {"", func(s *Settings) any { return len(s.List("X", "a,b")) }, 2, ""},
		"a number":                          {"7", func(s *Settings) any { return s.Int("X", 1, 0, 9) }, 7, ""},
		"a number that is too large":        {"10", func(s *Settings) any { return s.Int("X", 1, 0, 9) }, 1, "a number from 0 to 9"},
		"a word for a number":               {"ten", func(s *Settings) any { return s.Int("X", 1, 0, 9) }, 1, "a number from 0 to 9"},
		"a fraction":                        {"2.5", func(s *Settings) any { return s.Float("X", 1, 9) }, 2.5, ""},
		"a percentage":                      {"80%", func(s *Settings) any { return s.Float("X", 1, 100) }, 80.0, ""},
		"a fraction that is not a number":   {"NaN", func(s *Settings) any { return s.Float("X", 1, 9) }, 1.0, "a number above 0"},
		"a fraction that is infinite":       {"+Inf", func(s *Settings) any { return s.Float("X", 1, 9) }, 1.0, "a number above 0"},
		"a time":                            {"90s", func(s *Settings) any { return s.Duration("X", 0) }, 90 * time.Second, ""},
		"a time without a unit":             {"90", func(s *Settings) any { return s.Duration("X", time.Hour) }, time.Hour, "a time such as"},
		"a time that is negative":           {"-1s", func(s *Settings) any { return s.Duration("X", time.Hour) }, time.Hour, "a time such as"},
		"false":                             {"false", func(s *Settings) any { return s.Bool("X", true) }, false, ""},
		"neither true nor false":            {"perhaps", func(s *Settings) any { return s.Bool("X", true) }, true, "true or false"},
		"an unset boolean is the fallback":  {"", func(s *Settings) any { return s.Bool("X", true) }, true, ""},
		"an unset duration is the fallback": {"", func(s *Settings) any { return s.Duration("X", 5) }, time.Duration(5), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := New(func(string) string { return test.value })
			if got := test.read(s); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			err := s.Err()
			if (err != nil) != (test.wrong != "") {
				t.Fatalf("got %v, want %q", err, test.wrong)
			}
			if err != nil && !strings.Contains(err.Error(), `X is "`+test.value+`"; it must be `+test.wrong) {
				t.Errorf("got %v, want %q", err, test.wrong)
			}
		})
	}
}

func TestAllThatIsWrongIsNamed(t *testing.T) {
	s := New(func(string) string { return "?" })
	s.Int("A", 0, 0, 1)
	s.Duration("B", 0)
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "A is") || !strings.Contains(err.Error(), "B is") {
		t.Errorf("got %v", err)
	}
}
