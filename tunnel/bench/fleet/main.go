// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fleet measures what many idle tunnels cost a hub: memory, processor time, the time
// until they are back after the hub died, and the latency of a request among them. The hub
// and the agents run in processes of their own, which are this command again. See README.md
// for the method.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	tunnels   int
	returning int
	processes int
	pace      time.Duration
	settle    time.Duration
	idle      time.Duration
	down      time.Duration
	requests  int
	profiles  string
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 {
		switch args[0] {
		case roleHub:
			return serveCommands(ctx, in, out, &hubProcess{})
		case roleAgents:
			return serveCommands(ctx, in, out, &agentsProcess{})
		}
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	return drive(ctx, cfg, out)
}

func parse(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.IntVar(&cfg.tunnels, "tunnels", 10000, "tunnels that the hub holds")
	flags.IntVar(&cfg.returning, "returning", 5000, "tunnels that are there when the hub is killed")
	flags.IntVar(&cfg.processes, "processes", 4, "processes that the agents are spread over")
	flags.DurationVar(&cfg.pace, "pace", 2*time.Millisecond, "time between the starts of two agents")
	flags.DurationVar(&cfg.settle, "settle", 12*time.Second, "time between the last connect and the measurement of idleness")
	flags.DurationVar(&cfg.idle, "idle", 20*time.Second, "time over which idleness is measured")
	flags.DurationVar(&cfg.down, "down", 2*time.Second, "time between the hub's death and its restart")
	flags.IntVar(&cfg.requests, "requests", 5000, "requests through random tunnels")
	flags.StringVar(&cfg.profiles, "profiles", "", "folder for the hub's profiles: heap and CPU")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.processes < 1 || cfg.tunnels < cfg.processes || cfg.returning < 1 || cfg.returning > cfg.tunnels {
		return cfg, fmt.Errorf("reading the flags: %d tunnels, %d returning and %d processes do not go together", cfg.tunnels, cfg.returning, cfg.processes)
	}
	return cfg, nil
}
