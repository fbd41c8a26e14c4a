// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command speed measures how fast requests go through the tunnel, against the same requests
// over TLS without it and through what could be used in its place: all in one process over
// loopback, interleaved, as medians of several rounds. See README.md for the method.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
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

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	cfg, err := parse(args)
	if err != nil {
		return err
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

func parse(args []string) (config, error) {
	var cfg config
	var cases, variants string
	flags := flag.NewFlagSet("speed", flag.ContinueOnError)
	flags.StringVar(&cases, "cases", "", "cases, comma-separated; all by default: "+strings.Join(caseNames(), ","))
	flags.StringVar(&variants, "variants", "", "variants, comma-separated; all by default: "+strings.Join(variantNames, ","))
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
	if cfg.variants, err = choose("variant", variants, variantNames); err != nil {
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

// choose returns the names in list, in the order of known; all when list is empty.
func choose(what, list string, known []string) ([]string, error) {
	if list == "" {
		return known, nil
	}
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
