// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"time"

	"github.com/kubeprober/kubeprober/probers/checker"
)

const (
	// enough is how long must have been waited for something before its absence says that the cluster is broken.
	enough = time.Minute
	// maxTeardown is what a check keeps at most of its time for removing what it made.
	maxTeardown = 2 * time.Minute
)

// budget is the time of one check: CHECK_TIMEOUT, or less where the run ends earlier.
type budget struct {
	full     time.Duration
	started  time.Time
	deadline time.Time
}

func newBudget(ctx context.Context, full time.Duration) budget {
	b := budget{full: full, started: time.Now()}
	b.deadline = b.started.Add(full)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(b.deadline) {
		b.deadline = deadline
	}
	return b
}

// work bounds what is done before the teardown.
func (b budget) work(ctx context.Context) (context.Context, context.CancelFunc) {
	teardown := min(maxTeardown, time.Until(b.deadline)/4)
	return context.WithDeadline(ctx, b.deadline.Add(-teardown))
}

// outcome is the verdict on waiting for something: err is what await said, what is what did not happen in time.
func (b budget) outcome(err error, started time.Time, doing, what string) error {
	if errors.Is(err, context.DeadlineExceeded) && !isListError(err) {
		return b.late(time.Since(started), what)
	}
	return judge(err, doing)
}

// late is the verdict on something that did not happen in the time that there was. A run that is too short for it says
// nothing about the cluster, unless CHECK_TIMEOUT itself was set that short.
func (b budget) late(waited time.Duration, what string) error {
	waited = waited.Round(100 * time.Millisecond)
	if short := time.Until(b.deadline)+time.Since(b.started) < b.full*9/10; short && waited < enough {
		return checker.NotChecked("%s within %s, which is too short to judge: give the Probe a longer timeoutSeconds", what, waited)
	}
	return checker.Broken("%s within %s", what, waited)
}
