// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package exit says how a command ends: the exit codes, and the error that carries one together with the command to run
// next. It knows nothing of what failed.
package exit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kubeprober/kubeprober/apis/report"
)

// maxText bounds what an error prints, in characters.
const maxText = 4096

// The exit codes. Scripts rely on them.
const (
	// OK means that the command worked and nothing that it was asked to judge is bad.
	OK = 0
	// General is any error that has no code of its own.
	General = 1
	// Usage is a wrong flag, argument or configuration.
	Usage = 2
	// Failed means that a checker reports ERROR.
	Failed = 3
	// Warned means that checkers report WARN, and nothing is worse.
	Warned = 4
	// Incomplete means that something could not be judged: a timeout, a disconnected cluster, an UNKNOWN or stale result.
	Incomplete = 5
	// Interrupted means that the user stopped the command.
	Interrupted = 130
)

// Error ends a command with a code.
type Error struct {
	// Code is the exit code.
	Code int
	// Err is what went wrong.
	Err error
	// Next holds commands, or other advice of one line, for the user.
	Next []string
}

// Error is the text of what went wrong, without the advice.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error with a code and no advice.
func New(code int, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Then adds advice.
func (e *Error) Then(next ...string) *Error {
	e.Next = append(e.Next, next...)
	return e
}

// Code is the exit code of a command that returned err.
func Code(err error) int {
	var known *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &known):
		return known.Code
	case errors.Is(err, context.Canceled):
		return Interrupted
	default:
		return General
	}
}

// Print writes err for a person: what went wrong, then each advice on a line of its own. Text of others may be in it, so
// no control character is written.
func Print(w io.Writer, err error) {
	text := err.Error()
	if errors.Is(err, context.Canceled) && Code(err) == Interrupted {
		text = "interrupted"
	}
	var known *Error
	if errors.As(err, &known) {
		text = known.Error()
	}
	_, _ = fmt.Fprintf(w, "error: %s\n", report.CleanText(text, maxText))
	if known == nil {
		return
	}
	for _, next := range known.Next {
		_, _ = fmt.Fprintf(w, "  %s\n", report.CleanText(next, maxText))
	}
}

// Worst is the code that says most about several ends: a failed check first, then a general error, then what is incomplete.
func Worst(codes ...int) int {
	rank := map[int]int{OK: 0, Warned: 1, Incomplete: 2, General: 3, Usage: 4, Failed: 5, Interrupted: 6}
	worst := OK
	for _, code := range codes {
		if rank[code] > rank[worst] {
			worst = code
		}
	}
	return worst
}
