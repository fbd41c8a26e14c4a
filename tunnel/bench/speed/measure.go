// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/sample"
)

// patience is how long one measurement may take: what hangs is ended.
const patience = time.Minute

// A kind of figure decides how it is printed and what its ratio means.
type kind string

const (
	megabytes kind = "MB/s"
	micro     kind = "µs"
	requests  kind = "1/s"
	ratios    kind = "ratio"
)

// measurement yields the figures of one or more cases.
type measurement struct {
	cases []string
	kind  kind
	path  path
	ours  bool // for the tunnel alone
	run   func(ctx context.Context, r *rig, v *variant) ([]float64, error)
}

func moving(upload bool, count, streams int) func(context.Context, *rig, *variant) ([]float64, error) {
	return func(ctx context.Context, _ *rig, v *variant) ([]float64, error) {
		move := v.download
		if upload {
			move = v.upload
		}
		if err := move(ctx); err != nil { // to be warm
			return nil, err
		}
		rate, err := throughput(ctx, move, count, streams)
		return []float64{rate}, err
	}
}

var measurements = []measurement{
	{cases: []string{"down-1"}, kind: megabytes, path: near, run: moving(false, bodies, 1)},
	{cases: []string{"down-8"}, kind: megabytes, path: near, run: moving(false, bodies, 8)},
	{cases: []string{"up-1"}, kind: megabytes, path: near, run: moving(true, bodies, 1)},
	{cases: []string{"up-8"}, kind: megabytes, path: near, run: moving(true, bodies, 8)},
	{cases: []string{"get-p50", "get-p99"}, kind: micro, path: near, run: func(ctx context.Context, _ *rig, v *variant) ([]float64, error) {
		p50, p99, err := latency(ctx, v)
		return []float64{p50, p99}, err
	}},
	{cases: []string{"rps-32"}, kind: requests, path: near, run: func(ctx context.Context, _ *rig, v *variant) ([]float64, error) {
		if _, err := parallel(ctx, v.get, 1, clients); err != nil { // to have its connections
			return nil, err
		}
		got, err := rate(ctx, v)
		return []float64{got}, err
	}},
	{cases: []string{"rtt50-1"}, kind: megabytes, path: far, run: moving(false, farBodies, 1)},
	{cases: []string{"rtt50-nowindow-1"}, kind: megabytes, path: relayed, run: moving(false, farBodies, 1)},
	{cases: []string{"stuck-p99"}, kind: ratios, path: near, ours: true, run: func(ctx context.Context, r *rig, v *variant) ([]float64, error) {
		got, err := besideStuck(ctx, r.backend, v)
		return []float64{got}, err
	}},
}

func caseNames() []string {
	var names []string
	for _, m := range measurements {
		names = append(names, m.cases...)
	}
	return names
}

// wanted tells whether one of the cases is m's.
func (m measurement) wanted(cases []string) bool {
	return slices.ContainsFunc(m.cases, func(name string) bool { return slices.Contains(cases, name) })
}

// paths returns what the cases need.
func paths(cases []string) []path {
	var needed []path
	for _, m := range measurements {
		if m.wanted(cases) && !slices.Contains(needed, m.path) {
			needed = append(needed, m.path)
		}
	}
	return needed
}

// variants returns what m measures.
func (m measurement) variants(r *rig) []*variant {
	return slices.DeleteFunc(slices.Clone(r.ways[m.path]), func(v *variant) bool { return m.ours && v.name != ours })
}

// measure runs all rounds. Within a round each case measures all variants one after the
// other, so that what disturbs the machine disturbs them alike. Only direct and ours must
// succeed.
func measure(ctx context.Context, r *rig, cfg config) (results, error) {
	got := results{}
	for round := range cfg.rounds {
		for _, m := range measurements {
			if !m.wanted(cfg.cases) {
				continue
			}
			for _, v := range m.variants(r) {
				if got.failed(m.cases[0], v.name) {
					continue
				}
				figures, cpu, err := once(ctx, r, m, v, cfg.profiles)
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				if err != nil {
					err = fmt.Errorf("measuring %s of %s in round %d: %w", m.cases[0], v.name, round+1, err)
					if v.name == direct || v.name == ours {
						return nil, err
					}
					fmt.Fprintln(os.Stderr, "warning:", err)
				}
				got.add(m, v.name, figures, cpu, err)
			}
		}
	}
	return got, nil
}

// once measures, and returns also the processor time that all ends together spent on it.
func once(ctx context.Context, r *rig, m measurement, v *variant, profiles string) (figures []float64, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done after %s", patience))
	defer cancel()
	runtime.GC() // what the one before left behind is not to be cleared away at the cost of this one
	stop, err := profile(profiles, m.cases[0], v.name)
	if err != nil {
		return nil, 0, err
	}
	before, err := sample.ProcessorTime()
	if err != nil {
		return nil, 0, errors.Join(err, stop())
	}
	figures, err = m.run(ctx, r, v)
	after, cpuErr := sample.ProcessorTime()
	return figures, after - before, errors.Join(err, cpuErr, stop())
}

// profile writes a CPU profile to folder until it is stopped, if there is a folder.
func profile(folder, name, variant string) (stop func() error, err error) {
	if folder == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(filepath.Join(folder, fmt.Sprintf("%s-%s.cpu.pprof", name, variant)))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
