// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func state(probes ...kubeproberv1.RunProbeStatus) *kubeproberv1.ProbeRun {
	return &kubeproberv1.ProbeRun{Status: kubeproberv1.ProbeRunStatus{Phase: kubeproberv1.RunRunning, Probes: probes}}
}

func TestALogGetsOneLineForEachChange(t *testing.T) {
	var log bytes.Buffer
	d := newDisplay(&log, "erda-cloud", "1630566675")
	waits := &kubeproberv1.ProbeRun{Status: kubeproberv1.ProbeRunStatus{Conditions: []metav1.Condition{{
		Type: kubeproberv1.ProbeRunAcceptedCondition, Status: metav1.ConditionFalse, Message: "no \x1b[31mtunnel\nyet",
	}}}}
	k8s := kubeproberv1.RunProbeStatus{Name: "k8s", Phase: kubeproberv1.RunRunning}
	host := kubeproberv1.RunProbeStatus{Name: "host", Phase: kubeproberv1.RunPending}
	for _, run := range []*kubeproberv1.ProbeRun{waits, waits, state(k8s, host), state(k8s, host)} {
		if err := d.update(run); err != nil {
			t.Fatal(err)
		}
	}
	d.lost(errors.New("connection refused"))
	d.lost(errors.New("connection refused"))
	k8s.Phase, k8s.Status = kubeproberv1.RunSucceeded, kubeproberv1.CheckerPass
	k8s.Checkers = []kubeproberv1.CheckerResult{{Name: "dns", Status: kubeproberv1.CheckerPass}}
	if err := d.update(state(k8s, host)); err != nil {
		t.Fatal(err)
	}
	expected := strings.Join([]string{
		"run 1630566675 of cluster erda-cloud: waiting: no  [31mtunnel yet",
		"run 1630566675 of cluster erda-cloud: k8s: Running",
		"run 1630566675 of cluster erda-cloud: host: Pending",
		"run 1630566675 of cluster erda-cloud: connection lost, trying again: connection refused",
		"run 1630566675 of cluster erda-cloud: k8s: Succeeded, 1 checked, PASS",
		"",
	}, "\n")
	if log.String() != expected {
		t.Errorf("expected\n%sgot\n%s", expected, log.String())
	}
	log.Reset()
	d.tick()
	if !strings.HasPrefix(log.String(), "run 1630566675 of cluster erda-cloud: 1 of 2 done, after ") {
		t.Errorf("unexpected heartbeat %q", log.String())
	}
}

func TestATerminalIsRedrawnInPlaceAndNeverOverflows(t *testing.T) {
	var screen bytes.Buffer
	d := newDisplay(&screen, "", "1")
	d.size = func() (int, int) { return 40, 5 }
	var probes []kubeproberv1.RunProbeStatus
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		probes = append(probes, kubeproberv1.RunProbeStatus{Name: name, Phase: kubeproberv1.RunSucceeded})
	}
	probes[4].Phase, probes[4].Message = kubeproberv1.RunRunning, strings.Repeat("long ", 30)
	if err := d.update(state(probes...)); err != nil {
		t.Fatal(err)
	}
	first := screen.String()
	if n := strings.Count(first, "\n"); n != 4 {
		t.Errorf("%d lines on a terminal of 5: %q", n, first)
	}
	if !strings.Contains(first, "  e  Running") || !strings.Contains(first, "and 3 more") {
		t.Errorf("what is unfinished must come first: %q", first)
	}
	for line := range strings.Lines(first) {
		if visible := strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "\r\x1b[K"); len([]rune(visible)) > 39 {
			t.Errorf("line of %d columns on a terminal of 40: %q", len(visible), visible)
		}
	}
	screen.Reset()
	if err := d.update(state(probes[:1]...)); err != nil {
		t.Fatal(err)
	}
	if second := screen.String(); !strings.HasPrefix(second, "\x1b[4A") || !strings.HasSuffix(second, "\x1b[J") {
		t.Errorf("the block must be redrawn over the one before, and the rest cleared: %q", second)
	}
}
