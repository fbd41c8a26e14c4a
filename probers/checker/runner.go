// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
)

const (
	// maxReserve is what a run keeps at most of its time for reporting, after the last check has ended.
	maxReserve = 20 * time.Second
	// grace is how long a check whose time is up may take to say so in its own words.
	grace = 2 * time.Second
	// stopReport bounds reporting after the run was stopped. With the cleanup it fits into the 30 seconds that
	// Kubernetes gives a pod to end.
	stopReport = 5 * time.Second
	// maxReport bounds reporting a result in a run that has no deadline.
	maxReport = time.Minute
	// defaultParallel is how many checks run at once.
	defaultParallel = 8
	// defaultCleanupTimeout bounds one Cleanup.
	defaultCleanupTimeout = 20 * time.Second
)

// Reporter takes results; report.Client is one.
type Reporter interface {
	Send(ctx context.Context, checkers ...report.Checker) error
}

// Runner runs checkers and reports what they say.
type Runner struct {
	// Reporter takes the results. Required.
	Reporter Reporter
	// Deadline is when the run is stopped; checks end before it, so that there is time to report. Zero: no deadline.
	Deadline time.Time
	// Parallel is how many checks run at once. Defaults to 8.
	Parallel int
	// CleanupTimeout bounds each Cleanup. Defaults to 20 seconds.
	CleanupTimeout time.Duration
	// Log gets a line for each result, and what went wrong. Defaults to standard error.
	Log io.Writer

	logLock sync.Mutex
}

// Run runs the checkers and returns when all results are reported and all cleanups are done. When ctx ends, checks are
// stopped, and their results are still reported. The error names the results that could not be reported; what the checkers
// found is no error.
func (r *Runner) Run(ctx context.Context, checkers ...Checker) error {
	if err := validate(checkers); err != nil {
		return err
	}
	checks, cancel := r.checkContext(ctx)
	defer cancel()

	slots := make(chan struct{}, cmp.Or(max(r.Parallel, 0), defaultParallel))
	failures := make([]error, len(checkers))
	var all sync.WaitGroup
	for i, c := range checkers {
		all.Go(func() {
			select {
			case slots <- struct{}{}:
				result := r.check(ctx, checks, c)
				<-slots
				failures[i] = r.finish(ctx, c, result)
			case <-checks.Done():
				result := Result{Unknown, "the check was not started: " + whyEnded(ctx)}
				failures[i] = r.report(ctx, c.Name(), result)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// Result is what a check came to.
type Result struct {
	Status  Status
	Message string
}

func validate(checkers []Checker) error {
	if len(checkers) == 0 {
		return errors.New("there are no checkers to run")
	}
	seen := make(map[string]bool, len(checkers))
	for _, c := range checkers {
		if seen[c.Name()] {
			return fmt.Errorf("two checkers are named %q: a result would overwrite the other", c.Name())
		}
		seen[c.Name()] = true
	}
	return nil
}

// checkContext bounds the checks so that a part of the run's time, at most a fifth, is left for reporting.
func (r *Runner) checkContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	reserve := min(maxReserve, time.Until(r.Deadline)/5)
	return context.WithDeadline(ctx, r.Deadline.Add(-reserve))
}

// finish reports the result of a checker and cleans up after it. Reporting and cleaning up do not wait for each other:
// after a signal there is little time for either.
func (r *Runner) finish(ctx context.Context, c Checker, result Result) error {
	var cleaning sync.WaitGroup
	if cleaner, ok := c.(Cleaner); ok {
		cleaning.Go(func() { r.cleanUp(ctx, cleaner) })
	}
	err := r.report(ctx, c.Name(), result)
	cleaning.Wait()
	return err
}

func (r *Runner) check(ctx, checks context.Context, c Checker) Result {
	var cancel context.CancelFunc
	if limited, ok := c.(Limited); ok && limited.Limit() > 0 {
		checks, cancel = context.WithTimeout(checks, limited.Limit())
	} else {
		checks, cancel = context.WithCancel(checks)
	}
	defer cancel()

	started := time.Now()
	// Buffered: a check that comes back too late must not be stuck.
	done := make(chan Result, 1)
	go func() { done <- r.guarded(checks, c) }()
	select {
	case result := <-done:
		return result
	case <-checks.Done():
	}
	overdue := time.NewTimer(grace)
	defer overdue.Stop()
	select {
	case result := <-done:
		return result
	case <-overdue.C:
		// The goroutine cannot be ended from here; it goes with the process, which ends after this run.
		return Result{Unknown, fmt.Sprintf("the check gave no verdict within %s: %s",
			time.Since(started).Round(time.Second), whyEnded(ctx))}
	}
}

func (r *Runner) guarded(ctx context.Context, c Checker) (result Result) {
	defer func() {
		if panicked := recover(); panicked != nil {
			r.logf("Checker %s panicked: %v\n%s", c.Name(), panicked, debug.Stack())
			result = Result{Unknown, fmt.Sprintf("the checker has a fault and panicked: %v", panicked)}
		}
	}()
	status, message := c.Check(ctx)
	return Result{status, message}
}

func whyEnded(ctx context.Context) string {
	if ctx.Err() != nil {
		return "the run was stopped"
	}
	return "its time is up"
}

func (r *Runner) report(ctx context.Context, name string, result Result) error {
	at := metav1.Now()
	r.logf("%s %s %s", name, result.Status, report.CleanText(result.Message, report.MaxBytes))
	reporting, cancel := r.reportContext(ctx)
	defer cancel()
	// After a signal the result is still worth having, but there is little time.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopReport, cancel) })()
	err := r.Reporter.Send(reporting, report.Checker{Name: name, Status: result.Status, Message: result.Message, LastRun: &at})
	if err != nil {
		return fmt.Errorf("reporting checker %s: %w", name, err)
	}
	return nil
}

// reportContext lets a report be tried until the deadline of the run: the agent may be restarting.
func (r *Runner) reportContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Deadline.IsZero() {
		return context.WithTimeout(context.WithoutCancel(ctx), maxReport)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), r.Deadline)
}

func (r *Runner) cleanUp(ctx context.Context, c Cleaner) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(max(r.CleanupTimeout, 0), defaultCleanupTimeout))
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			r.logf("Cleanup of checker %s panicked: %v\n%s", c.Name(), panicked, debug.Stack())
		}
	}()
	if err := c.Cleanup(ctx); err != nil {
		r.logf("Cleaning up after checker %s failed: %v", c.Name(), err)
	}
}

func (r *Runner) logf(format string, args ...any) {
	r.logLock.Lock()
	defer r.logLock.Unlock()
	log := r.Log
	if log == nil {
		log = os.Stderr
	}
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	// When the log cannot be written there is nowhere left to say so; results do not depend on it.
	_, _ = fmt.Fprintln(log, text)
}
