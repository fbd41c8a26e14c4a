// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// tell writes results as name=STATUS, with @node where there is one.
func tell(results []kubeproberv1.CheckerResult) string {
	var texts []string
	for _, r := range results {
		text := fmt.Sprintf("%s=%s", r.Name, r.Status)
		if r.Node != "" {
			text += "@" + r.Node
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func TestWhatContainersSayCountsWhereNothingWasReported(t *testing.T) {
	missing := Gap{Reason: "NonZeroExit", Message: "container d ended with exit code 7"}
	for name, tc := range map[string]struct {
		reported  []report.Checker
		statement Statement
		gaps      []Gap
		want      string
		reason    string
	}{
		"their results": {
			statement: Statement{Results: []report.Checker{checker("c", "PASS", "fine"), checker("d", "ERROR", "x")}}, want: "c=PASS d=ERROR",
		},
		"and what is missing": {
			statement: Statement{Results: []report.Checker{checker("c", "PASS", "fine")}, Gap: missing}, want: "c=PASS k8s=UNKNOWN", reason: "NonZeroExit",
		},
		"not beside a report": {
			reported: []report.Checker{checker("a", "PASS", "")}, statement: Statement{Results: []report.Checker{checker("c", "ERROR", "x")}, Gap: missing}, want: "a=PASS",
		},
		"the failure of one that has reported": {
			reported: []report.Checker{checker("a", "PASS", "")}, statement: Statement{Failure: missing}, want: "a=PASS k8s=UNKNOWN", reason: "NonZeroExit",
		},
		"but not of one that has not": {
			statement: Statement{Results: []report.Checker{checker("c", "ERROR", "x")}, Failure: missing}, want: "c=ERROR",
		},
		"beside what Kubernetes did": {
			statement: Statement{Results: []report.Checker{checker("c", "PASS", "fine")}, Gap: missing}, gaps: []Gap{{Reason: "OOMKilled", Message: "m"}},
			want: "c=PASS k8s=UNKNOWN", reason: "OOMKilled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			results := merge(nil, "new", "", tc.reported, 1, now)
			end := closeRun(closing{results: results, probe: "k8s", runID: "new", threshold: 1}, &Ending{
				End: now, Nodes: []string{""}, Gaps: tc.gaps, Statements: map[string]Statement{"": tc.statement},
			})
			if got := tell(end.results); got != tc.want || end.reason != tc.reason {
				t.Errorf("got %s for %q, want %s for %q", got, end.reason, tc.want, tc.reason)
			}
		})
	}
}

func TestSeveralGapsOfOneNodeAreOneResult(t *testing.T) {
	end := closeRun(closing{probe: "k8s", runID: "new", threshold: 1}, &Ending{
		End: now, Nodes: []string{"n"}, Gaps: []Gap{{Node: "n", Reason: "OOMKilled", Message: "c"}},
		Statements: map[string]Statement{"n": {Gap: Gap{Node: "n", Reason: "NonZeroExit", Message: "d", Log: "bye"}}},
	})
	if got := tell(end.results); got != "k8s=UNKNOWN@n" || end.message != "OOMKilled: c; NonZeroExit: d; last log lines: bye" {
		t.Errorf("got %s: %s", got, end.message)
	}
}

// run records one scheduled run.
func recordRun(t *testing.T, store *Store, ref Ref, statement Statement) {
	t.Helper()
	ending := &Ending{Start: now, End: now, Nodes: []string{""}, Statements: map[string]Statement{"": statement}}
	if _, err := store.Finish(t.Context(), ref, ending); err != nil {
		t.Fatal(err)
	}
}

func TestACheckerThatIsNoLongerReportedIsNamedInTheHistory(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	if err := store.Report(t.Context(), ref("1"), "", []report.Checker{checker("a", "PASS", ""), checker("b", "ERROR", "x"), checker("c", "PASS", "")}, now); err != nil {
		t.Fatal(err)
	}
	recordRun(t, store, ref("1"), Statement{})
	recordRun(t, store, ref("2"), Statement{Results: []report.Checker{checker("a", "PASS", "fine")}})
	got := outcome()
	if tell(got.Checkers) != "a=PASS" || got.History[0].Message != "no longer reported: b, c" || got.History[0].Reason != "" {
		t.Errorf("got %s, history %+v", tell(got.Checkers), got.History[0])
	}
	if got.Message != "" {
		t.Errorf("the message of a good probe is %q", got.Message)
	}
	recordRun(t, store, ref("3"), Statement{Results: []report.Checker{checker("a", "PASS", "fine")}})
	if got = outcome(); got.History[0].Message != "" {
		t.Errorf("it is named again: %q", got.History[0].Message)
	}
}

func TestTheThresholdHoldsForWhatContainersSay(t *testing.T) {
	store, ref, outcome := newTestStore(t)
	setThreshold(t, store, 2)
	broken := Statement{Results: []report.Checker{checker("c", "ERROR", "x")}}
	for i, want := range []string{"c=WARN", "c=ERROR", "c=PASS", "c=WARN"} {
		statement := broken
		if i == 2 {
			statement = Statement{Results: []report.Checker{checker("c", "PASS", "fine")}}
		}
		recordRun(t, store, ref(fmt.Sprint(i)), statement)
		if got := outcome(); tell(got.Checkers) != want {
			t.Errorf("run %d: got %s, want %s", i, tell(got.Checkers), want)
		}
		// The agent crashed before it knew that the end was recorded.
		recordRun(t, store, ref(fmt.Sprint(i)), statement)
		if got := outcome(); tell(got.Checkers) != want || len(got.History) != i+1 {
			t.Errorf("run %d recorded twice: %s, %d entries", i, tell(got.Checkers), len(got.History))
		}
	}
	if got := outcome(); got.Checkers[0].ConsecutiveErrors != 1 || got.History[0].Status != "ERROR" {
		t.Errorf("%d errors in a row, history %s", got.Checkers[0].ConsecutiveErrors, got.History[0].Status)
	}
}

func setThreshold(t *testing.T, store *Store, threshold int32) {
	t.Helper()
	probe := &kubeproberv1.Probe{}
	if err := store.live.Get(t.Context(), client.ObjectKey{Namespace: "kubeprober", Name: "k8s"}, probe); err != nil {
		t.Fatal(err)
	}
	probe.Spec.Policy.FailureThreshold = &threshold
	if err := store.client.Update(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
}

func TestARunOfManyNodesKeepsTheWorstAndCountsTheRest(t *testing.T) {
	const nodes, each = 40, 30
	for name, contract := range map[string]func(*testing.T, *Store, Ref, map[string][]report.Checker) *Ending{
		"by reports": func(t *testing.T, store *Store, ref Ref, said map[string][]report.Checker) *Ending {
			ending := &Ending{Start: now, End: now, Statements: map[string]Statement{}}
			var all sync.WaitGroup
			for node, checkers := range said {
				// At once, as nodes do.
				all.Go(func() {
					if err := store.Report(t.Context(), ref, node, checkers, now); err != nil {
						t.Error(err)
					}
				})
				ending.Nodes = append(ending.Nodes, node)
				ending.Statements[node] = Statement{Gap: Gap{Node: node, Reason: "NoReport"}}
			}
			all.Wait()
			return ending
		},
		"by lines": func(_ *testing.T, _ *Store, _ Ref, said map[string][]report.Checker) *Ending {
			ending := &Ending{Start: now, End: now, Statements: map[string]Statement{}}
			for node, checkers := range said {
				ending.Nodes = append(ending.Nodes, node)
				ending.Statements[node] = Statement{Results: checkers}
			}
			return ending
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, ref, outcome := newTestStore(t)
			for _, runID := range []string{"1", "2"} {
				said := map[string][]report.Checker{}
				for n := range nodes {
					for i := range each {
						c := checker(fmt.Sprintf("c%d", i), "PASS", "fine")
						if n >= nodes-5 && i == each-1 {
							c = checker(c.Name, "ERROR", "broken")
						}
						node := fmt.Sprintf("node-%d", n)
						said[node] = append(said[node], c)
					}
				}
				ending := contract(t, store, ref(runID), said)
				slices.Sort(ending.Nodes)
				if _, err := store.Finish(t.Context(), ref(runID), ending); err != nil {
					t.Fatal(err)
				}
				got := outcome()
				var failed int
				seen := map[string]bool{}
				for _, c := range got.Checkers {
					seen[c.Node] = true
					if c.Status == "ERROR" {
						failed++
					} else if c.Status != "PASS" || c.RunID != runID {
						t.Errorf("%s on %s is %s of run %s: %s", c.Name, c.Node, c.Status, c.RunID, c.Message)
					}
				}
				if len(got.Checkers) != kubeproberv1.MaxCheckers || failed != 5 || len(seen) != nodes || got.Omitted != nodes*each-kubeproberv1.MaxCheckers {
					t.Errorf("run %s: %d results of %d nodes, %d ERRORs, %d omitted", runID, len(got.Checkers), len(seen), failed, got.Omitted)
				}
				if got.Status != "ERROR" || !strings.Contains(got.Message, "broken; 200 results are left out") ||
					got.History[0].Total != nodes*each || got.History[0].ErrorCount != 5 {
					t.Errorf("run %s: %s: %s, history %+v", runID, got.Status, got.Message, got.History[0])
				}
			}
		})
	}
}

func TestAProbeThatIsGoneTakesNoReport(t *testing.T) {
	store, ref, _ := newTestStore(t)
	report1 := []report.Checker{checker("a", "PASS", "")}
	if err := store.Report(t.Context(), ref("1"), "", report1, now); err != nil {
		t.Fatal(err)
	}
	other := ref("1")
	other.OwnerUID = "another"
	if err := store.Report(t.Context(), other, "", report1, now); !errors.Is(err, ErrRunOver) {
		t.Errorf("a Probe made anew takes the report of an old run: %v", err)
	}
	probe := &kubeproberv1.Probe{}
	probe.Namespace, probe.Name = "kubeprober", "k8s"
	if err := store.client.Delete(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
	if err := store.Report(t.Context(), ref("1"), "", report1, now); !errors.Is(err, ErrRunOver) {
		t.Errorf("got %v", err)
	}
}
