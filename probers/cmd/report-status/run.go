// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/probers/checker"
)

// Exit statuses: those of checker images, because a script may end with the status of its last command.
const (
	exitReported    = checker.ExitReported
	exitNotReported = checker.ExitNotReported
	exitUsage       = checker.ExitUsage
)

type options struct {
	name, status, message string
	stdin, version        bool
	timeout               time.Duration
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitReported
	case err != nil:
		return fail(stderr, exitUsage, err)
	case o.version:
		if _, err := fmt.Fprintln(stdout, "report-status", version); err != nil {
			return exitNotReported
		}
		return exitReported
	}
	client, err := report.NewClientFromEnvironment()
	if err != nil {
		return fail(stderr, exitUsage, err)
	}
	send := func(checkers ...report.Checker) error {
		ctx, cancel := context.WithTimeout(ctx, o.timeout)
		defer cancel()
		return client.Send(ctx, checkers...)
	}
	if o.stdin {
		err = sendLines(stdin, send)
	} else {
		now := metav1.Now()
		err = send(report.Checker{Name: o.name, Status: checker.Status(o.status), Message: o.message, LastRun: &now})
	}
	switch {
	case err == nil:
		return exitReported
	case errors.Is(err, errNoResult) || errors.Is(err, report.ErrInvalid):
		return fail(stderr, exitUsage, err)
	default:
		return fail(stderr, exitNotReported, err)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("report-status", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.name, "name", "", "name of the checker")
	flags.StringVar(&o.status, "status", "", "pass, info, warn, error or unknown, in any case")
	flags.StringVar(&o.message, "message", "", "what the checker found; required unless the status is pass or info")
	flags.BoolVar(&o.stdin, "stdin", false, "read results from the standard input, one a line: name ok|info|warn|error|unknown message")
	flags.BoolVar(&o.version, "version", false, "print the version")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "how long to try while the agent cannot be reached")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
	}
	if err != nil || o.version {
		return o, err
	}
	return o, o.validate(flags.Args())
}

func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: quote the message", rest[0])
	case o.timeout <= 0:
		return fmt.Errorf("--timeout is %s; it must be more than 0", o.timeout)
	case o.stdin && (o.name != "" || o.status != "" || o.message != ""):
		return errors.New("--stdin excludes --name, --status and --message")
	case o.stdin:
		return nil
	case o.name == "":
		return errors.New("--name is missing; see report-status --help")
	case o.status == "":
		return errors.New("--status is missing; see report-status --help")
	}
	status, err := checker.ParseStatus(o.status)
	if err != nil {
		return fmt.Errorf("--status: %w", err)
	}
	o.status = string(status)
	if o.message == "" && status != checker.Pass && status != checker.Info {
		return fmt.Errorf("--message is missing: %s needs one", status)
	}
	return nil
}

func fail(stderr io.Writer, status int, err error) int {
	_, _ = fmt.Fprintf(stderr, "error: %v\n", err)
	return status
}
