// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// FailOn is the value of --fail-on: which results make a command fail.
type FailOn string

// The values of --fail-on.
const (
	// FailNever makes no result fail the command.
	FailNever FailOn = "never"
	// FailOnError lets ERROR fail it, and what could not be judged make it incomplete.
	FailOnError FailOn = "error"
	// FailOnWarn also lets WARN fail it.
	FailOnWarn FailOn = "warn"
)

// FailOnValues are the values of --fail-on.
func FailOnValues() []string {
	return []string{string(FailNever), string(FailOnError), string(FailOnWarn)}
}

// Validate checks the value.
func (f FailOn) Validate() error {
	if slices.Contains(FailOnValues(), string(f)) {
		return nil
	}
	return exit.New(exit.Usage, "--fail-on %q is none of %s", string(f), strings.Join(FailOnValues(), ", "))
}

// Verdict is the error, with its exit code, that results end a command with; nil when they are good enough.
func (f FailOn) Verdict(tally Tally) error {
	switch {
	case f == FailNever:
		return nil
	case tally.Errors > 0:
		return exit.New(exit.Failed, "%s of %d %s ERROR", number(tally.Errors), tally.Total, reports(tally.Errors))
	case tally.Unjudged > 0:
		return exit.New(exit.Incomplete, "%s of %d could not be judged: unknown, stale or not reported", number(tally.Unjudged), tally.Total)
	case f == FailOnWarn && tally.Warnings > 0:
		return exit.New(exit.Warned, "%s of %d %s WARN", number(tally.Warnings), tally.Total, reports(tally.Warnings))
	default:
		return nil
	}
}

func number(n int) string { return fmt.Sprintf("%d", n) }

func reports(n int) string {
	if n == 1 {
		return "checkers reports"
	}
	return "checkers report"
}
