// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
)

// fleet is the processes at work.
type fleet struct {
	cfg      config
	out      io.Writer
	material site.Material
	address  string
	hub      *child
	agents   []*child
	counts   []int // agents in each process
	figures  map[string]float64
}

// Figures that are the result, in the order in which they are printed.
const (
	figureMemory  = "kb-per-tunnel"
	figureIdle    = "idle-cpu-percent"
	figureBack    = "back-seconds"
	figureLatency = "get-p99-ms"
)

// drive measures everything and writes the figures to out.
func drive(ctx context.Context, cfg config, out io.Writer) (err error) {
	material, err := site.NewMaterial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills what is left
	f := &fleet{cfg: cfg, out: out, material: material, address: net.JoinHostPort(site.Host, "0"), figures: map[string]float64{}}
	if err := f.startHub(ctx); err != nil {
		return err
	}
	empty, err := f.hub.do(command{Do: "usage"})
	if err != nil {
		return err
	}
	if err := f.startAgents(ctx); err != nil {
		return err
	}
	if err := f.measureIdle(ctx, empty.Figures); err != nil {
		return err
	}
	if err := f.measureGets(); err != nil {
		return err
	}
	if err := f.measureReturn(ctx); err != nil {
		return err
	}
	if err := f.end(); err != nil {
		return err
	}
	for _, name := range []string{figureMemory, figureIdle, figureBack, figureLatency} {
		fmt.Fprintf(out, "FLEET %s %.2f\n", name, f.figures[name])
	}
	return nil
}

func (f *fleet) startHub(ctx context.Context) (err error) {
	if f.hub, err = startChild(ctx, roleHub); err != nil {
		return err
	}
	got, err := f.hub.do(command{Do: "listen", Material: f.material, Address: f.address})
	f.address = got.Address // the same again after a restart
	return err
}

// startAgents starts all processes of agents and returns when all agents are connected.
func (f *fleet) startAgents(ctx context.Context) error {
	start := time.Now()
	var group errgroup.Group
	first := 0
	for i := range f.cfg.processes {
		p, err := startChild(ctx, roleAgents)
		if err != nil {
			return err
		}
		f.agents = append(f.agents, p)
		count := (f.cfg.tunnels - first) / (f.cfg.processes - i)
		f.counts = append(f.counts, count)
		c := command{
			Do: "start", Material: f.material, HubURL: "https://" + f.address,
			First: first, Count: count, Pace: f.cfg.pace * time.Duration(f.cfg.processes),
		}
		first += count
		group.Go(func() error {
			_, err := p.do(c)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if _, err := f.hub.do(command{Do: "await", Count: f.cfg.tunnels}); err != nil {
		return err
	}
	fmt.Fprintf(f.out, "%d tunnels up after %.1f s\n", f.cfg.tunnels, time.Since(start).Seconds())
	return f.printTally("while they came up")
}

// measureIdle measures the hub while nothing happens. empty is its usage without tunnels.
func (f *fleet) measureIdle(ctx context.Context, empty map[string]float64) error {
	if err := wait(ctx, f.cfg.settle); err != nil {
		return err
	}
	stop, err := f.profile("idle")
	if err != nil {
		return err
	}
	before, err := f.hub.do(command{Do: "usage"})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := wait(ctx, f.cfg.idle); err != nil {
		return err
	}
	after, err := f.hub.do(command{Do: "usage"})
	if err != nil {
		return err
	}
	window := time.Since(start).Seconds()
	got, err := f.hub.do(command{Do: "count"})
	if err != nil {
		return err
	}
	if n := int(got.Figures["clusters"]); n != f.cfg.tunnels {
		return fmt.Errorf("only %d of %d tunnels were up after the idle time", n, f.cfg.tunnels)
	}
	if err := stop(); err != nil {
		return err
	}
	each := func(figure string) float64 {
		return (after.Figures[figure] - empty[figure]) / float64(f.cfg.tunnels)
	}
	fmt.Fprintf(f.out, "a tunnel at the hub: %.1f KiB resident; %.1f KiB heap with garbage, %.1f KiB stacks, %.2f goroutines\n",
		each(figureRSS), each(figureHeap), each(figureStacks), each(figureThreads))
	fmt.Fprintf(f.out, "the hub: %.0f KiB resident without tunnels, %.0f KiB with %d\n", empty[figureRSS], after.Figures[figureRSS], f.cfg.tunnels)
	f.figures[figureMemory] = each(figureRSS)
	f.figures[figureIdle] = 100 * (after.Figures[figureCPU] - before.Figures[figureCPU]) / window
	if f.cfg.profiles == "" {
		return nil
	}
	_, err = f.hub.do(command{Do: "heap", File: filepath.Join(f.cfg.profiles, "hub-heap.pprof")})
	return err
}

// measureGets measures requests through random tunnels while all are idle.
func (f *fleet) measureGets() error {
	stop, err := f.profile("get")
	if err != nil {
		return err
	}
	got, err := f.hub.do(command{Do: "get", Count: f.cfg.requests})
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	fmt.Fprintf(f.out, "a small GET through a random tunnel: p50 %.3f ms, p99 %.3f ms\n", got.Figures[figureP50], got.Figures[figureP99])
	f.figures[figureLatency] = got.Figures[figureP99]
	return nil
}

// measureReturn measures the time from the hub's death until its agents are back.
func (f *fleet) measureReturn(ctx context.Context) error {
	left := f.cfg.tunnels
	for left-f.counts[len(f.counts)-1] >= f.cfg.returning {
		last := len(f.agents) - 1
		if err := f.agents[last].end(); err != nil {
			return err
		}
		left -= f.counts[last]
		f.agents, f.counts = f.agents[:last], f.counts[:last]
	}
	start := time.Now()
	if err := f.hub.kill(); err != nil {
		return err
	}
	if err := wait(ctx, f.cfg.down); err != nil {
		return err
	}
	if err := f.startHub(ctx); err != nil {
		return err
	}
	if _, err := f.hub.do(command{Do: "await", Count: (left*99 + 99) / 100}); err != nil {
		return err
	}
	back := time.Since(start).Seconds()
	if _, err := f.hub.do(command{Do: "await", Count: left}); err != nil {
		return err
	}
	fmt.Fprintf(f.out, "the hub was killed and gone for %s: 99%% of %d tunnels back %.1f s after its death, all after %.1f s\n",
		f.cfg.down, left, back, time.Since(start).Seconds())
	f.figures[figureBack] = back
	return f.printTally("until all were back, in all")
}

// printTally writes how many connects were in vain.
func (f *fleet) printTally(when string) error {
	var refused, failed float64
	for _, p := range f.agents {
		got, err := p.do(command{Do: "tally"})
		if err != nil {
			return err
		}
		refused += got.Figures[figureRefused]
		failed += got.Figures[figureFailed]
	}
	fmt.Fprintf(f.out, "connects in vain %s: %.0f refused by the hub, %.0f failed\n", when, refused, failed)
	got, err := f.hub.do(command{Do: "refusals"})
	if err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(got.Figures)) {
		fmt.Fprintf(f.out, "  the hub since its start: %.0f refused for %s\n", got.Figures[reason], reason)
	}
	return nil
}

func (f *fleet) end() error {
	errs := []error{}
	for _, p := range f.agents {
		errs = append(errs, p.end())
	}
	return errors.Join(append(errs, f.hub.end())...)
}

// profile profiles the hub's processor time until it is stopped, if there is a folder.
func (f *fleet) profile(name string) (stop func() error, err error) {
	if f.cfg.profiles == "" {
		return func() error { return nil }, nil
	}
	path := filepath.Join(f.cfg.profiles, "hub-"+name+".cpu.pprof")
	if _, err := f.hub.do(command{Do: "start-profile", File: path}); err != nil {
		return nil, err
	}
	return func() error {
		_, err := f.hub.do(command{Do: "stop-profile"})
		return err
	}, nil
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
