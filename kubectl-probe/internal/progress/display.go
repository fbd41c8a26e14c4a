// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/output"
)

const (
	// redraw is how often a terminal shows the time anew.
	redraw = time.Second
	// heartbeat is how often a log is told that nothing has changed.
	heartbeat = 30 * time.Second
	// maxNote bounds a message within the progress, in characters.
	maxNote = 200
)

// display shows one run. Its methods may be called at once.
type display struct {
	w       io.Writer
	subject string
	started time.Time
	// size of the terminal in columns and rows; nil when w is none.
	size func() (columns, rows int)

	mu sync.Mutex
	// run is the last state.
	run *kubeproberv1.ProbeRun
	// said holds the last line of each subject, so that a log tells a change once.
	said map[string]string
	// note is what keeps the display from knowing more, such as a lost connection.
	note string
	// drawn counts the lines of the block on the terminal.
	drawn int
}

func newDisplay(w io.Writer, cluster, id string) *display {
	subject := "run " + id
	if cluster != "" {
		subject += " of cluster " + cluster
	}
	return &display{w: w, subject: subject, started: time.Now(), size: output.TerminalSize(w), said: map[string]string{}}
}

// start shows the passing of time until stop is called, which waits for it and leaves the cursor below the block.
func (d *display) start() (stop func()) {
	every := heartbeat
	if d.size != nil {
		every = redraw
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.tick()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// update shows a new state of the run.
func (d *display) update(run *kubeproberv1.ProbeRun) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.run, d.note = run, ""
	if d.size != nil {
		d.draw()
		return nil
	}
	if len(run.Status.Probes) == 0 && !run.Status.Phase.Finished() {
		d.say("", waiting(run))
	}
	for i := range run.Status.Probes {
		probe := &run.Status.Probes[i]
		d.say(probe.Name, fmt.Sprintf("%s: %s", probe.Name, describe(probe)))
	}
	return nil
}

// lost shows that the connection to the API server is lost; the watch goes on by itself.
func (d *display) lost(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note = report.CleanText("connection lost, trying again: "+err.Error(), maxNote)
	if d.size != nil {
		d.draw()
		return
	}
	d.say("", d.note)
}

func (d *display) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size != nil {
		d.draw()
		return
	}
	d.print(fmt.Sprintf("%s, after %s", d.summary(), d.elapsed()))
}

// say prints a line unless it is the last one about this subject.
func (d *display) say(about, line string) {
	if d.said[about] == line {
		return
	}
	d.said[about] = line
	d.print(line)
}

func (d *display) print(line string) { _, _ = fmt.Fprintf(d.w, "%s: %s\n", d.subject, line) }

// draw replaces the block on the terminal.
func (d *display) draw() {
	columns, rows := d.size()
	var block bytes.Buffer
	lines := d.lines(rows - 1)
	if d.drawn > 0 {
		fmt.Fprintf(&block, "\x1b[%dA", d.drawn)
	}
	for _, line := range lines {
		fmt.Fprintf(&block, "\r\x1b[K%s\n", clip(line, columns-1))
	}
	if d.drawn > len(lines) {
		block.WriteString("\x1b[J")
	}
	d.drawn = len(lines)
	_, _ = d.w.Write(block.Bytes())
}

// lines are the block, at most most of them: what has not finished comes first.
func (d *display) lines(most int) []string {
	lines := []string{fmt.Sprintf("%s: %s, %s", d.subject, d.summary(), d.elapsed())}
	if d.run == nil {
		return lines
	}
	var open, finished []*kubeproberv1.RunProbeStatus
	for i := range d.run.Status.Probes {
		probe := &d.run.Status.Probes[i]
		if probe.Phase.Finished() {
			finished = append(finished, probe)
		} else {
			open = append(open, probe)
		}
	}
	var table bytes.Buffer
	aligned := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, probe := range append(open, finished...) {
		_, _ = fmt.Fprintf(aligned, "  %s\t%s\n", probe.Name, describe(probe))
	}
	_ = aligned.Flush()
	for line := range bytes.Lines(table.Bytes()) {
		lines = append(lines, string(bytes.TrimRight(line, "\n")))
	}
	if most = max(most, 2); len(lines) > most {
		hidden := len(lines) - most + 1
		lines = append(lines[:most-1], fmt.Sprintf("  and %d more", hidden))
	}
	return lines
}

func (d *display) summary() string {
	switch {
	case d.note != "":
		return d.note
	case d.run == nil:
		return "looking it up"
	case len(d.run.Status.Probes) == 0:
		return waiting(d.run)
	}
	done := 0
	for i := range d.run.Status.Probes {
		if d.run.Status.Probes[i].Phase.Finished() {
			done++
		}
	}
	return fmt.Sprintf("%d of %d done", done, len(d.run.Status.Probes))
}

func (d *display) elapsed() string { return duration.HumanDuration(time.Since(d.started)) }

// waiting tells what a run waits for that has not started.
func waiting(run *kubeproberv1.ProbeRun) string {
	why := output.WaitsFor(run)
	if why == "" {
		return "waiting for the cluster to take it"
	}
	return report.CleanText("waiting: "+why, maxNote)
}

// describe tells how far one probe of a run is.
func describe(probe *kubeproberv1.RunProbeStatus) string {
	text := string(probe.Phase)
	if n := len(probe.Checkers); n > 0 {
		text += fmt.Sprintf(", %d checked", n)
	}
	if probe.Status != "" {
		text += ", " + string(probe.Status)
	}
	if probe.Message != "" {
		text += ": " + probe.Message
	}
	return report.CleanText(text, maxNote)
}

// clip cuts a line so that it takes one row of the terminal.
func clip(line string, columns int) string {
	runes := []rune(line)
	if columns < 1 || len(runes) <= columns {
		return line
	}
	return string(runes[:columns])
}
