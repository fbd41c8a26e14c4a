// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package environ reads the settings of a checker from its environment, as the configs of a Probe put them there. It knows
// types and bounds, and nothing of what the settings mean.
package environ

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Lookup gives the value of a variable; an unset one is empty. os.Getenv is one.
type Lookup func(name string) string

// Settings reads variables. What is wrong with them is kept, so that a reader asks once at the end.
type Settings struct {
	lookup Lookup
	errs   []error
}

// New makes Settings that read from lookup.
func New(lookup Lookup) *Settings { return &Settings{lookup: lookup} }

// Err names every variable that is wrong; nil when all is well.
func (s *Settings) Err() error { return errors.Join(s.errs...) }

// Fail notes that a variable is wrong; want says what it must be.
func (s *Settings) Fail(name, want string) {
	s.errs = append(s.errs, fmt.Errorf("%s is %q; it must be %s. Correct it in the configs of the Probe", name, s.lookup(name), want))
}

// Text reads a string, without white space around it.
func (s *Settings) Text(name, fallback string) string {
	if value := strings.TrimSpace(s.lookup(name)); value != "" {
		return value
	}
	return fallback
}

// List reads a list that is separated by commas.
func (s *Settings) List(name, fallback string) []string {
	var list []string
	for item := range strings.SplitSeq(s.Text(name, fallback), ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// Int reads a number from least to most.
func (s *Settings) Int(name string, fallback, least, most int) int {
	value := s.Text(name, "")
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		s.Fail(name, fmt.Sprintf("a number from %d to %d", least, most))
		return fallback
	}
	return n
}

// Float reads a number above 0 and up to most; a percent sign after it is allowed.
func (s *Settings) Float(name string, fallback, most float64) float64 {
	value := strings.TrimSuffix(s.Text(name, ""), "%")
	if value == "" {
		return fallback
	}
	n, err := strconv.ParseFloat(value, 64)
	// The comparison is written so that it refuses what is no number, too.
	if err != nil || !(n > 0 && n <= most) {
		s.Fail(name, fmt.Sprintf("a number above 0 and up to %g", most))
		return fallback
	}
	return n
}

// Duration reads a time that is not negative.
func (s *Settings) Duration(name string, fallback time.Duration) time.Duration {
	value := s.Text(name, "")
	if value == "" {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		s.Fail(name, "a time such as 90s or 15m")
		return fallback
	}
	return d
}

// Bool reads true or false.
func (s *Settings) Bool(name string, fallback bool) bool {
	value := s.Text(name, "")
	if value == "" {
		return fallback
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		s.Fail(name, "true or false")
		return fallback
	}
	return b
}
