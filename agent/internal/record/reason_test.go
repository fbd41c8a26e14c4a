// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
)

func TestTheTimeOfTheLastPassOutlivesFailures(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	passed := now.Add(time.Minute)
	steps := []struct {
		status report.Checker
		at     time.Time
		want   time.Time
	}{
		{checker("a", "ERROR", "m"), now, time.Time{}},
		{checker("a", "INFO", "m"), passed, passed},
		{checker("a", "WARN", "m"), now.Add(2 * time.Minute), passed},
		{checker("a", "UNKNOWN", "m"), now.Add(3 * time.Minute), passed},
	}
	for i, step := range steps {
		if err := store.Report(t.Context(), ref("run"), "", []report.Checker{step.status}, step.at); err != nil {
			t.Fatal(err)
		}
		var got time.Time
		if last := outcome().Checkers[0].LastPass; last != nil {
			got = last.Time
		}
		if !got.Equal(step.want) {
			t.Errorf("step %d: last pass %v, want %v", i, got, step.want)
		}
	}
	if _, err := store.Finish(t.Context(), ref("lost"), &Ending{
		Start: now.Add(time.Hour), End: now.Add(time.Hour), Nodes: []string{""}, Gaps: []Gap{{Reason: "NodeLost"}},
	}); err != nil {
		t.Fatal(err)
	}
	if last := outcome().Checkers[0].LastPass; last == nil || !last.Time.Equal(passed) {
		t.Errorf("a run that could not check leaves the last pass at %v", last)
	}
}

func TestTheHistoryNamesTheReasonOfARunThatCouldNotJudge(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	ending := func() *Ending {
		return &Ending{Start: now, End: now, Nodes: []string{""}, Gaps: []Gap{{Reason: "OOMKilled", Message: "m"}}}
	}
	change, err := store.Finish(t.Context(), ref("run"), ending())
	if err != nil || change.Run == nil || change.Run.Reason != "OOMKilled" || change.Run.Status != "UNKNOWN" {
		t.Errorf("change %+v, error %v", change, err)
	}
	if got := outcome().History[0].Reason; got != "OOMKilled" {
		t.Errorf("the history says %q", got)
	}
	if change, err = store.Finish(t.Context(), ref("run"), ending()); err != nil || change.Run != nil {
		t.Errorf("an end that is recorded already is told again: %+v, error %v", change, err)
	}
}

func TestStaleTimeFollowsThePolicyOfTheLatestRunOnly(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	if _, err := store.Finish(t.Context(), ref("run"), &Ending{Start: now, End: now, StaleTime: now.Add(time.Hour), Nodes: []string{""}}); err != nil {
		t.Fatal(err)
	}
	if err := store.Restate(t.Context(), ref("earlier"), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := outcome().StaleTime; !got.Time.Equal(now.Add(time.Hour)) {
		t.Errorf("an earlier run moved it to %v", got)
	}
	if err := store.Restate(t.Context(), ref("run"), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := outcome().StaleTime; !got.Time.Equal(now.Add(time.Minute)) {
		t.Errorf("it is %v", got)
	}
	if err := store.Restate(t.Context(), ref("run"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := outcome().StaleTime; got != nil {
		t.Errorf("a probe that runs once has %v", got)
	}
}
