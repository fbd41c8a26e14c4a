// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"context"
	"time"
)

// Checker makes one assertion about the cluster or the node.
type Checker interface {
	// Name identifies the checker within its probe, 1 to 253 characters.
	Name() string
	// Check makes the assertion. It ends soon after ctx does; one that does not is left behind, and its verdict is UNKNOWN.
	Check(ctx context.Context) (Status, string)
}

// Cleaner is a Checker that creates something. Cleanup is called once after Check however that ended: also when it
// panicked, ran out of time or was stopped by a signal, and possibly while an overdue Check is still running. ctx is not
// the one that Check got, and has time of its own. Cleanup does nothing when nothing is left.
type Cleaner interface {
	Checker
	Cleanup(ctx context.Context) error
}

// Limited is a Checker that wants a shorter limit than the run has.
type Limited interface {
	Checker
	// Limit is how long Check may take; zero or less means as long as the run has.
	Limit() time.Duration
}

// New makes a Checker of a function: nil is PASS with the given text, an error gets the verdict that Verdict gives it.
func New(name string, check func(ctx context.Context) (string, error)) Checker {
	return &function{name: name, check: check}
}

type function struct {
	name  string
	check func(ctx context.Context) (string, error)
}

func (f *function) Name() string { return f.name }

func (f *function) Check(ctx context.Context) (Status, string) {
	text, err := f.check(ctx)
	return Verdict(err, text)
}

// Failed is a Checker that could not be set up, by its configuration for example: its verdict is the one of err.
func Failed(name string, err error) Checker {
	return New(name, func(context.Context) (string, error) { return "", err })
}
