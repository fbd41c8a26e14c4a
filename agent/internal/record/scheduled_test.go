// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// newTestStore makes a store with one Probe, and tells how its runs are named.
func newTestStore(t *testing.T) (*Store, func(runID string) Ref, func() *kubeproberv1.ProbeOutcome) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	probe := &kubeproberv1.Probe{}
	probe.Namespace, probe.Name, probe.UID = "kubeprober", "k8s", "uid"
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(probe).WithStatusSubresource(&kubeproberv1.ProbeStatus{}).Build()
	ref := func(runID string) Ref {
		return Ref{Namespace: probe.Namespace, Probe: probe.Name, OwnerUID: probe.UID, RunID: runID}
	}
	outcome := func() *kubeproberv1.ProbeOutcome {
		t.Helper()
		status := &kubeproberv1.ProbeStatus{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(probe), status); err != nil {
			t.Fatal(err)
		}
		return &status.Status
	}
	return NewStore(c, c), ref, outcome
}

func TestARunDoesNotTakeThePlaceOfALaterOne(t *testing.T) {
	tests := map[string]struct {
		start, end time.Time
		err        error
		last       string
	}{
		"that began an hour later":                    {now.Add(-time.Hour), now.Add(time.Minute), ErrSuperseded, "latest"},
		"but of one that began in the same second":    {now, now.Add(time.Minute), nil, "other"},
		"but of an earlier one":                       {now.Add(time.Second), now.Add(time.Minute), nil, "other"},
		"but of one that has yet to begin by its day": {now.Add(-time.Hour), now.Add(-time.Minute), nil, "other"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			store, ref, outcome := newTestStore(t)
			if err := store.Report(t.Context(), ref("latest"), "", []report.Checker{checker("a", "PASS", "")}, now); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Finish(t.Context(), ref("latest"), &Ending{Start: now, End: now.Add(time.Second), Nodes: []string{""}}); err != nil {
				t.Fatal(err)
			}
			gaps := []Gap{{Reason: "OOMKilled"}}
			change, err := store.Finish(t.Context(), ref("other"), &Ending{Start: test.start, End: test.end, Nodes: []string{""}, Gaps: gaps})
			if !errors.Is(err, test.err) || (err == nil) != change.Moved() {
				t.Errorf("change %+v, error %v", change, err)
			}
			if got := outcome(); got.LastRunID != test.last || (got.Status == "PASS") != (test.last == "latest") {
				t.Errorf("got %s of run %s", got.Status, got.LastRunID)
			}
		})
	}
}

func TestTheOlderHalfOfAFullHistoryIsLeaving(t *testing.T) {
	status := &kubeproberv1.ProbeOutcome{}
	for i := range kubeproberv1.MaxHistory {
		status.History = append(status.History, kubeproberv1.RunRecord{RunID: fmt.Sprint(i)})
	}
	for runID, want := range map[string]bool{"0": false, "9": false, "10": true, "19": true, "20": false} {
		if Leaving(status, runID) != want {
			t.Errorf("run %s is leaving: %v", runID, !want)
		}
	}
}

func TestNewNodesTakeThePlaceOfThoseThatAreGone(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	checkers := make([]report.Checker, 100)
	for i := range checkers {
		checkers[i] = checker(fmt.Sprint("c", i), "PASS", "")
	}
	checkers[0].Status = "ERROR"
	const nodes = 6
	for _, generation := range []string{"old", "new"} {
		var visited []string
		for i := range nodes {
			node := fmt.Sprintf("%s-%d", generation, i)
			visited = append(visited, node)
			if err := store.Report(t.Context(), ref(generation), node, checkers, now); err != nil {
				t.Fatalf("node %s: %v", node, err)
			}
		}
		if generation == "new" {
			var stale int
			for _, c := range outcome().Checkers {
				if c.RunID == "old" && c.Status == "ERROR" {
					stale++
				}
			}
			if stale != nodes {
				t.Errorf("%d of %d ERRORs are left before the run has ended", stale, nodes)
			}
		}
		if _, err := store.Finish(t.Context(), ref(generation), &Ending{Start: now, End: now, Nodes: visited}); err != nil {
			t.Fatal(err)
		}
	}
	if got := outcome().Checkers; len(got) != nodes*len(checkers) || got[0].RunID != "new" {
		t.Errorf("%d results, the first of run %s", len(got), got[0].RunID)
	}
}

func TestARunThatReportsTooMuchByItselfIsRefused(t *testing.T) {
	store, ref, _ := newTestStore(t)
	many := make([]report.Checker, kubeproberv1.MaxCheckers+1)
	for i := range many {
		many[i] = checker(fmt.Sprint("c", i), "PASS", "")
	}
	if err := store.Report(t.Context(), ref("run"), "", many, now); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
}
