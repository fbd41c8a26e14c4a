// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command speed measures how fast requests go through the tunnel, against the same requests
// over TLS without it and through what could be used in its place: all in one process over
// loopback, interleaved, as medians of several rounds. See README.md for the method.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	cases    []string
	variants []string
	rounds   int
	profiles string
	upstream string
}

// insideName comes before the arguments of the process that runs in a namespace of its own.
const insideName = "inside"

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	isInside := len(args) > 0 && args[0] == insideName
	if isInside {
		args = args[1:]
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	if slices.Contains(paths(cfg.cases), far) {
		if !isInside {
			return runInside(ctx, args)
		}
		if err := wire.Loopback(); err != nil {
			return err
		}
	}
	r, err := newRig(ctx, cfg)
	defer func() {
		if closeErr := r.close(); err == nil {
			err = closeErr
		}
	}()
	if err != nil {
		return err
	}
	results, err := measure(ctx, r, cfg)
	if err != nil {
		return err
	}
	results.print(out, cfg)
	return nil
}

// runInside runs this command in a network namespace, in which it may lay a wire.
func runInside(ctx context.Context, args []string) error {
	err := wire.Run(ctx, append([]string{insideName}, args...)...)
	if errors.Is(err, wire.ErrNoNamespace) {
		return fmt.Errorf("laying the wire of rtt50-1 (choose other cases with -cases to do without): %w", err)
	}
	return err
}

func parse(args []string) (config, error) {
	var cfg config
	var cases, variants string
	flags := flag.NewFlagSet("speed", flag.ContinueOnError)
	flags.StringVar(&cases, "cases", "", "cases, comma-separated; all by default: "+strings.Join(caseNames(), ","))
	flags.StringVar(&variants, "variants", "", "variants, comma-separated; by default "+strings.Join(variantNames, ",")+"; there is also "+double)
	flags.IntVar(&cfg.rounds, "rounds", 5, "rounds of which the median is taken")
	flags.StringVar(&cfg.profiles, "profiles", "", "folder for a CPU profile of each case and variant")
	flags.StringVar(&cfg.upstream, "upstream", "http", "how the proxy hop talks to the server, http or https; https encrypts twice")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	var err error
	if cfg.cases, err = choose("case", cases, caseNames()); err != nil {
		return cfg, err
	}
	if cfg.variants, err = choose("variant", variants, variantNames, double); err != nil {
		return cfg, err
	}
	if cfg.upstream != "http" && cfg.upstream != "https" {
		return cfg, fmt.Errorf("reading -upstream: %q is neither http nor https", cfg.upstream)
	}
	if cfg.rounds < 1 {
		return cfg, fmt.Errorf("reading -rounds: %d is less than 1", cfg.rounds)
	}
	return cfg, nil
}

// choose returns the names in list, in the order of usual and more; the usual ones when list
// is empty.
func choose(what, list string, usual []string, more ...string) ([]string, error) {
	if list == "" {
		return usual, nil
	}
	known := slices.Concat(usual, more)
	wanted := strings.Split(list, ",")
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %s %q, only %s", what, name, strings.Join(known, ", "))
		}
	}
	var chosen []string
	for _, name := range known {
		if slices.Contains(wanted, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, nil
}
