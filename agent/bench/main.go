// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what probe-agent costs the cluster that it runs in, and how soon a report of a checker shows: in the
// ProbeStatus, and in the Cluster on the master. Agent and master run as processes, each with an API server of its own. See
// README.md for the method.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	agent, master string
	root          string
	probes        int
	checkers      int
	settle, idle  time.Duration
	reports       int
	logs          string
	env           []string
}

func parse(args []string, help io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.StringVar(&c.agent, "agent", "", "the program probe-agent")
	flags.StringVar(&c.master, "master", "", "the program probe-master")
	flags.StringVar(&c.root, "root", "../..", "root of the repository: CRDs and manifests are taken from there")
	flags.IntVar(&c.probes, "probes", 200, "Probes that the agent has")
	flags.IntVar(&c.checkers, "checkers", 10, "checkers of each Probe")
	flags.DurationVar(&c.settle, "settle", 20*time.Second, "time between the end of the last run and the measurement of idleness")
	flags.DurationVar(&c.idle, "idle", time.Minute, "time over which idleness is measured")
	flags.IntVar(&c.reports, "reports", 50, "reports that are timed")
	flags.StringVar(&c.logs, "logs", "", "folder for the logs of agent and master, which are lost without")
	flags.Func("env", "NAME=VALUE that the agent gets beside what its manifest sets, such as GODEBUG=gctrace=1; may be repeated", func(text string) error {
		if !strings.Contains(text, "=") {
			return errors.New("must be NAME=VALUE")
		}
		c.env = append(c.env, text)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case c.agent == "" || c.master == "":
		return nil, errors.New("reading the flags: -agent and -master are needed; `make -C agent bench` builds both")
	case c.probes < 1 || c.checkers < 1 || c.reports < 1 || c.idle <= 0 || c.settle <= 0:
		return nil, errors.New("reading the flags: all numbers and times must be more than 0")
	case flags.NArg() > 0:
		return nil, fmt.Errorf("reading the flags: unexpected argument %q", flags.Arg(0))
	}
	return c, nil
}

// figure is one line of the result.
type figure struct {
	name  string
	value float64
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	cfg, err := parse(args, progress)
	if err != nil {
		return err
	}
	// What goes wrong comes back as an error.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "kubeprober-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if cfg.logs == "" {
		cfg.logs = dir
	}
	r := &rig{config: cfg, dir: dir, progress: progress, out: out}
	err = r.measure(ctx)
	// The folder holds credentials of the API servers: it goes last.
	err = errors.Join(err, r.close(), os.RemoveAll(dir))
	if err != nil {
		return err
	}
	for _, f := range r.figures {
		fmt.Fprintf(out, "BENCH %s %.4g\n", f.name, f.value)
	}
	return nil
}
