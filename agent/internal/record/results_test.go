// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

var now = time.Unix(1000, 0)

func checker(name string, status kubeproberv1.CheckerStatus, message string) report.Checker {
	return report.Checker{Name: name, Status: status, Message: message}
}

func TestOnlyTheThresholdTurnsTheStatusToError(t *testing.T) {
	var results []kubeproberv1.CheckerResult
	steps := []struct {
		run    string
		said   kubeproberv1.CheckerStatus
		want   kubeproberv1.CheckerStatus
		errors int32
	}{
		{"r1", "ERROR", "WARN", 1},
		{"r1", "ERROR", "WARN", 1},
		{"r2", "ERROR", "WARN", 2},
		{"r3", "ERROR", "ERROR", 3},
		{"r4", "ERROR", "ERROR", 4},
		{"r5", "PASS", "PASS", 0},
		{"r6", "ERROR", "WARN", 1},
		{"r7", "WARN", "WARN", 0},
	}
	for i, step := range steps {
		results = merge(results, step.run, "", []report.Checker{checker("a", step.said, "m")}, 3, now)
		if len(results) != 1 || results[0].Status != step.want || results[0].ConsecutiveErrors != step.errors {
			t.Fatalf("step %d: %+v", i, results)
		}
	}
	if results = merge(results, "r8", "", []report.Checker{checker("a", "ERROR", "m")}, 3, now); results[0].Message != "1 of 3 errors in a row: m" {
		t.Errorf("message %q", results[0].Message)
	}
}

func TestResultsOfNodesStandBesideEachOther(t *testing.T) {
	results := merge(nil, "r", "n2", []report.Checker{checker("b", "PASS", ""), checker("a", "PASS", "")}, 1, now)
	results = merge(results, "r", "n1", []report.Checker{checker("b", "ERROR", "x")}, 1, now)
	var got []string
	for _, r := range results {
		got = append(got, r.Name+"@"+r.Node)
	}
	if text := strings.Join(got, " "); text != "a@n2 b@n1 b@n2" {
		t.Errorf("got %s", text)
	}
	if status, message := summarize(results); status != "ERROR" || message != "b on n1: x" {
		t.Errorf("summary %s %q", status, message)
	}
}

func TestTheTimeOfAResultIsNeitherInTheFutureNorBeforeTheEpoch(t *testing.T) {
	body := `{"checkers":[{"name":"future","status":"PASS","lastRun":"2999-01-01T00:00:00Z"},{"name":"zero","status":"PASS","lastRun":"0001-01-01T00:00:00Z"},` +
		`{"name":"good","status":"PASS","lastRun":"1970-01-01T00:10:00Z"}]}`
	r, err := report.Decode(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"future": 1000, "zero": 1000, "good": 600}
	for _, result := range merge(nil, "r", "", r.Checkers, 1, now) {
		if result.LastRun.Unix() != want[result.Name] {
			t.Errorf("%s has %v", result.Name, result.LastRun)
		}
	}
}

func TestTheEndOfARun(t *testing.T) {
	earlier := []kubeproberv1.CheckerResult{{Name: "a", Status: "PASS", RunID: "old"}, {Name: "b", Status: "PASS", RunID: "old"}}
	silent := map[string]Statement{"": {Gap: Gap{Reason: "NoReport", Message: "nothing"}}}
	tests := map[string]struct {
		results []kubeproberv1.CheckerResult
		gaps    []Gap
		want    string
		worst   kubeproberv1.CheckerStatus
		total   int32
	}{
		"drops what a complete run did not report": {
			results: merge(earlier, "new", "", []report.Checker{checker("b", "WARN", "w")}, 1, now), want: "b=WARN", worst: "WARN", total: 1,
		},
		"makes unknown what an incomplete run did not report": {
			results: merge(earlier, "new", "", []report.Checker{checker("b", "PASS", "")}, 1, now), gaps: []Gap{{Reason: "OOMKilled"}},
			want: "a=UNKNOWN b=PASS k8s=UNKNOWN", worst: "UNKNOWN", total: 1,
		},
		"makes everything unknown when nothing was reported": {results: earlier, want: "a=UNKNOWN b=UNKNOWN k8s=UNKNOWN", worst: "UNKNOWN"},
		"has one entry when nothing was ever reported":       {want: "k8s=UNKNOWN", worst: "UNKNOWN"},
		"names its entry otherwise when a checker has the probe's name": {
			results: merge(nil, "new", "", []report.Checker{checker("k8s", "PASS", "")}, 1, now), gaps: []Gap{{Reason: "OOMKilled"}},
			want: "k8s=PASS k8s/run=UNKNOWN", worst: "UNKNOWN", total: 1,
		},
		"counts an error that the threshold hides": {
			results: merge(nil, "new", "", []report.Checker{checker("a", "ERROR", "x")}, 2, now), want: "a=WARN", worst: "ERROR", total: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			end := closeRun(closing{results: test.results, probe: "k8s", runID: "new", threshold: 1},
				&Ending{End: now, Nodes: []string{""}, Gaps: test.gaps, Statements: silent})
			var got []string
			for _, r := range end.results {
				got = append(got, fmt.Sprintf("%s=%s", r.Name, r.Status))
				if r.RunID != "new" {
					t.Errorf("%s is of run %s", r.Name, r.RunID)
				}
			}
			if text := strings.Join(got, " "); text != test.want || end.worst != test.worst || end.total != test.total {
				t.Errorf("got %s, worst %s, total %d", text, end.worst, end.total)
			}
			if end.complete != (end.message == "") {
				t.Errorf("complete %v with message %q", end.complete, end.message)
			}
		})
	}
}

func TestANodeThatLeavesTheRunLeavesTheResults(t *testing.T) {
	results := merge(nil, "old", "gone", []report.Checker{checker("a", "ERROR", "x")}, 1, now)
	results = merge(results, "new", "here", []report.Checker{checker("a", "PASS", "")}, 1, now)
	end := closeRun(closing{results: results, probe: "k8s", runID: "new", threshold: 1}, &Ending{
		End: now, Nodes: []string{"here", "silent"},
		Statements: map[string]Statement{"here": {Gap: Gap{Reason: "NoReport"}}, "silent": {Gap: Gap{Node: "silent", Reason: "NoReport"}}},
	})
	if len(end.results) != 2 || end.results[0].Node != "here" || end.results[1].Name != "k8s" || end.results[1].Node != "silent" {
		t.Errorf("got %+v", end.results)
	}
}

func TestResultsAreBounded(t *testing.T) {
	var many []report.Checker
	for i := range kubeproberv1.MaxCheckers {
		many = append(many, checker(fmt.Sprint("c", i), "PASS", strings.Repeat("<", kubeproberv1.MaxMessageLength)))
	}
	results := merge(nil, "r", "", many, 1, now)
	if checkBounds(results) == nil {
		t.Error("6 MB of escaped messages fit")
	}
	shorten(results)
	if err := checkBounds(results); err != nil {
		t.Error(err)
	}
	if err := checkBounds(merge(results, "r", "", []report.Checker{checker("one more", "PASS", "")}, 1, now)); err == nil {
		t.Error("one checker too many fits")
	}
	end := closeRun(closing{results: results, probe: "k8s", runID: "r", threshold: 1}, &Ending{End: now, Gaps: []Gap{{Reason: "OOMKilled", Log: strings.Repeat("x", 5000)}}})
	if len(end.results) != kubeproberv1.MaxCheckers || end.results[len(end.results)-1].Name != "k8s" {
		t.Errorf("%d results, and the last is %s", len(end.results), end.results[len(end.results)-1].Name)
	}
	if n := len([]rune(end.message)); n > kubeproberv1.MaxMessageLength {
		t.Errorf("a message of %d characters", n)
	}
}
