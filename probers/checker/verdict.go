// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"fmt"
	"strings"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Status is the verdict of a checker.
type Status = kubeproberv1.CheckerStatus

// The verdicts, in rising severity.
const (
	// Pass means that all is well.
	Pass = kubeproberv1.CheckerPass
	// Info means that all is well, and something is worth knowing.
	Info = kubeproberv1.CheckerInfo
	// Unknown means that the check could not be made.
	Unknown = kubeproberv1.CheckerUnknown
	// Warn means that it works, but somebody should look.
	Warn = kubeproberv1.CheckerWarn
	// Error means that it is broken.
	Error = kubeproberv1.CheckerError
)

// VerdictError is an error that carries a verdict.
type VerdictError struct {
	// Status is the verdict.
	Status Status
	// Err says what was found.
	Err error
}

// Error says what was found.
func (f *VerdictError) Error() string { return f.Err.Error() }

// Unwrap gives the error that the finding was made from.
func (f *VerdictError) Unwrap() error { return f.Err }

// Broken is an ERROR: what is checked does not work. Format and arguments are those of fmt.Errorf.
func Broken(format string, args ...any) error { return finding(Error, format, args...) }

// Degraded is a WARN: what is checked works, but not as it should.
func Degraded(format string, args ...any) error { return finding(Warn, format, args...) }

// Noticed is an INFO: all is well, and something is worth knowing.
func Noticed(format string, args ...any) error { return finding(Info, format, args...) }

// NotChecked is an UNKNOWN: the check could not be made. Every error that is no VerdictError counts as this; the function is
// for saying it in words of one's own, also about an error that is a VerdictError.
func NotChecked(format string, args ...any) error { return finding(Unknown, format, args...) }

func finding(status Status, format string, args ...any) error {
	return &VerdictError{Status: status, Err: fmt.Errorf(format, args...)}
}

// Verdict turns the outcome of a check into a status and a message; ok is the message of a check that found nothing wrong.
// Of several errors that were joined, the most severe one counts.
func Verdict(err error, ok string) (Status, string) {
	if err == nil {
		return Pass, ok
	}
	return statusOf(err), strings.ReplaceAll(err.Error(), "\n", "; ")
}

func statusOf(err error) Status {
	switch e := err.(type) { //nolint:errorlint // This walks the tree of wrapped errors itself.
	case *VerdictError:
		return e.Status
	case interface{ Unwrap() []error }:
		worst := Pass
		for _, one := range e.Unwrap() {
			worst = worst.Worst(statusOf(one))
		}
		return worst
	case interface{ Unwrap() error }:
		if wrapped := e.Unwrap(); wrapped != nil {
			return statusOf(wrapped)
		}
	}
	return Unknown
}

// ParseStatus reads a status word in any case; ok is taken for PASS.
func ParseStatus(word string) (Status, error) { return report.ParseStatus(word) }
