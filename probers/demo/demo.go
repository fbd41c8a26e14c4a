// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo is a checker to copy from and to try a cluster with: its result is what the configs of the Probe say.
// Its modes behave as a checker must not, to show what Kubeprober makes of that. It knows nothing of what is checked.
package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// Checker is the name of the demo's checker, unless DEMO_NAME says otherwise.
const Checker = "demo-checker"

// Mode is how the demo behaves.
type Mode string

// The modes, as DEMO_MODE names them.
const (
	// ModeReport reports DEMO_STATUS after DEMO_DELAY. The default.
	ModeReport Mode = "report"
	// ModeLate reports only after the deadline of the run.
	ModeLate Mode = "late"
	// ModeGarbage posts something that is no report.
	ModeGarbage Mode = "garbage"
	// ModeForeign posts a report in the name of another probe, DEMO_FOREIGN_PROBE.
	ModeForeign Mode = "foreign"
	// ModeForged posts a report to a URL that differs from the run's own by its last characters.
	ModeForged Mode = "forged"
	// ModeExit exits with DEMO_EXIT_CODE without a report.
	ModeExit Mode = "exit"
	// ModeLines prints DEMO_LINES lines and exits without a report.
	ModeLines Mode = "lines"
	// ModeMemory allocates until it has DEMO_MEMORY_MIB MiB, and holds them until it is stopped.
	ModeMemory Mode = "memory"
	// ModeHang does nothing until it is stopped.
	ModeHang Mode = "hang"
	// ModePanic has a checker that panics.
	ModePanic Mode = "panic"
)

// Demo is one demo run, as the environment describes it.
type Demo struct {
	mode    Mode
	name    string
	status  checker.Status
	message string
	delay   time.Duration
	foreign string
	exit    int
	lines   int
	memory  int
}

// New reads the environment.
func New(env environ.Lookup) (*Demo, error) {
	s := environ.New(env)
	d := &Demo{
		mode:    Mode(strings.ToLower(s.Text("DEMO_MODE", string(ModeReport)))),
		name:    s.Text("DEMO_NAME", Checker),
		message: s.Text("DEMO_MESSAGE", ""),
		delay:   s.Duration("DEMO_DELAY", 0),
		foreign: s.Text("DEMO_FOREIGN_PROBE", "somebody-else"),
		exit:    s.Int("DEMO_EXIT_CODE", 3, 0, 255),
		lines:   s.Int("DEMO_LINES", 5, 0, 100000),
		memory:  s.Int("DEMO_MEMORY_MIB", 256, 1, 1<<20),
	}
	status, err := checker.ParseStatus(s.Text("DEMO_STATUS", string(checker.Pass)))
	if err != nil {
		s.Fail("DEMO_STATUS", "pass, info, warn, error or unknown")
	}
	d.status = status
	switch d.mode {
	case ModeReport, ModeLate, ModeGarbage, ModeForeign, ModeForged, ModeExit, ModeLines, ModeMemory, ModeHang, ModePanic:
	default:
		s.Fail("DEMO_MODE", "report, late, garbage, foreign, forged, exit, lines, memory, hang or panic")
	}
	return d, s.Err()
}

// Run behaves as the mode says and returns the exit status of the process.
func (d *Demo) Run(ctx context.Context, stdout, stderr io.Writer) int {
	switch d.mode {
	case ModeReport, ModePanic:
		return checker.Run(ctx, d)
	case ModeExit:
		_, _ = fmt.Fprintf(stderr, "the demo exits with status %d and reports nothing\n", d.exit)
		return d.exit
	case ModeLines:
		for i := range d.lines {
			_, _ = fmt.Fprintf(stdout, "line %d of a checker that only prints\n", i+1)
		}
		return checker.ExitReported
	case ModeHang:
		<-ctx.Done()
		return checker.ExitNotReported
	case ModeMemory:
		held := allocate(ctx, d.memory)
		_, _ = fmt.Fprintf(stderr, "the demo holds %d MiB\n", len(held))
		<-ctx.Done()
		return checker.ExitNotReported
	default:
		return d.misreport(ctx, stdout, stderr)
	}
}

// Name is the name of the demo's checker.
func (d *Demo) Name() string { return d.name }

// Check says what the environment told it to say.
func (d *Demo) Check(ctx context.Context) (checker.Status, string) {
	if d.mode == ModePanic {
		panic("the demo was told to panic") //nolint:forbidigo // That is what this mode shows.
	}
	if err := pause(ctx, d.delay); err != nil {
		return checker.Verdict(fmt.Errorf("waiting for DEMO_DELAY %s: %w", d.delay, err), "")
	}
	return d.status, d.message
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// allocate takes memory MiB by MiB and writes to every page, so that it counts.
func allocate(ctx context.Context, mib int) [][]byte {
	var held [][]byte
	for range mib {
		if ctx.Err() != nil {
			break
		}
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		held = append(held, block)
	}
	return held
}
