// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
)

// Exit statuses of Main. None of them is 1: a container that never reports says ERROR by that, and a process that could not
// report has proved nothing about the cluster.
const (
	// ExitReported means that every result was reported, whatever it says.
	ExitReported = 0
	// ExitNotReported means that a result could not be reported.
	ExitNotReported = 2
	// ExitUsage means that the process was started wrongly, outside of a run for example.
	ExitUsage = 64
)

// Run runs the checkers in a pod of a run, with the report URL and the deadline that the agent put into its environment.
// It returns the exit status of the process; what went wrong is written to standard error.
func Run(ctx context.Context, checkers ...Checker) int {
	return run(ctx, os.Stderr, checkers...)
}

// Main is the main function of a checker image: Run, stopped by SIGTERM and SIGINT. It does not return.
func Main(checkers ...Checker) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := Run(ctx, checkers...)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, log io.Writer, checkers ...Checker) int {
	client, err := report.NewClientFromEnvironment()
	if err != nil {
		_, _ = fmt.Fprintf(log, "error: %v\n", err)
		return ExitUsage
	}
	deadline, err := Deadline()
	if err != nil {
		_, _ = fmt.Fprintf(log, "error: %v\n", err)
		return ExitUsage
	}
	if err := validate(checkers); err != nil {
		_, _ = fmt.Fprintf(log, "error: %v\n", err)
		return ExitUsage
	}
	runner := &Runner{Reporter: client, Deadline: deadline, Log: log}
	if err := runner.Run(ctx, checkers...); err != nil {
		_, _ = fmt.Fprintf(log, "error: %v\n", err)
		return ExitNotReported
	}
	return ExitReported
}

// Deadline is the time at which the run is stopped, from the environment; zero when there is none.
func Deadline() (time.Time, error) {
	text := os.Getenv(report.EnvRunDeadline)
	if text == "" {
		return time.Time{}, nil
	}
	deadline, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("parsing %s: %w", report.EnvRunDeadline, err)
	}
	return deadline, nil
}
