// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Gap says why a run could not judge, in the whole cluster or on one node.
type Gap struct {
	// Node is empty for a run that does not go to every node.
	Node string
	// Reason from the list in package run.
	Reason string
	// Message says more than the reason.
	Message string
	// Log holds the last lines of the log of the checker; may be empty.
	Log string
}

func (g Gap) text() string {
	text := g.Reason
	if g.Message != "" {
		text += ": " + g.Message
	}
	if g.Log != "" {
		text += "; last log lines: " + g.Log
	}
	return report.CleanText(text, kubeproberv1.MaxMessageLength)
}

// Ending is how a run ended.
type Ending struct {
	// Start and End of the run.
	Start, End time.Time
	// StaleTime is when the outcome stops being trusted; zero for never.
	StaleTime time.Time
	// Nodes that the run went to; one empty name for a run that does not go to every node.
	Nodes []string
	// Gaps are what Kubernetes did to the run. They count whatever was reported.
	Gaps []Gap
	// Statements by node are what is known beside the reports. A node without one has reported, or has a gap.
	Statements map[string]Statement
	// LeftOut tells the nodes that the run did not go to, and why.
	LeftOut string
}

// Statement is what the containers on one node said without a report.
type Statement struct {
	// Results count when nothing was reported there. They have distinct names.
	Results []report.Checker
	// Gap says why there are not more; it counts as the results do. Its reason is empty when nothing is missing.
	Gap Gap
	// Failure says how containers ended that should have ended well; it counts when something was reported there. Its reason is
	// empty when they did.
	Failure Gap
}

// loseReports makes the silence of a run no fault of its checkers. What they said otherwise may not be all that they said.
func (e *Ending) loseReports() {
	for node := range e.Statements {
		e.Statements[node] = Statement{Gap: Gap{
			Node: node, Reason: reasonNoReport, Message: "no result is known: somebody removed the ProbeStatus after the run had started",
		}}
	}
}

// reasonNoReport is the reason of package run, which this package does not know.
const reasonNoReport = "NoReport"

// Heard tells on which nodes results of a run are known.
func Heard(results []kubeproberv1.CheckerResult, runID string) func(node string) bool {
	nodes := map[string]bool{}
	for i := range results {
		if results[i].RunID == runID {
			nodes[results[i].Node] = true
		}
	}
	return func(node string) bool { return nodes[node] }
}

// merge puts reported results among those that are there. A result takes the place of one of the same name and node; threshold
// is how many ERRORs in a row are published as ERROR.
func merge(results []kubeproberv1.CheckerResult, runID, node string, reported []report.Checker, threshold int32, now time.Time) []kubeproberv1.CheckerResult {
	merged := slices.Clone(results)
	index := make(map[string]int, len(merged))
	for i := range merged {
		index[key(merged[i].Name, merged[i].Node)] = i
	}
	for i := range reported {
		c := &reported[i]
		at, known := index[key(c.Name, node)]
		if !known {
			at = len(merged)
			index[key(c.Name, node)] = at
			merged = append(merged, kubeproberv1.CheckerResult{Name: c.Name, Node: node})
		}
		publish(&merged[at], c, runID, threshold, now)
	}
	sortResults(merged)
	return merged
}

func publish(result *kubeproberv1.CheckerResult, c *report.Checker, runID string, threshold int32, now time.Time) {
	// A checker that reports twice in one run is one verdict in the row.
	sameRun := result.RunID == runID && result.ConsecutiveErrors > 0
	result.Status, result.Message, result.RunID = c.Status, c.Message, runID
	lastRun := metav1.NewTime(now).Rfc3339Copy()
	if c.LastRun != nil && c.LastRun.After(time.Unix(0, 0)) && c.LastRun.Time.Before(now) {
		lastRun = c.LastRun.Rfc3339Copy()
	}
	result.LastRun = &lastRun
	if c.Status == kubeproberv1.CheckerPass || c.Status == kubeproberv1.CheckerInfo {
		result.LastPass = &lastRun
	}
	if c.Status != kubeproberv1.CheckerError {
		result.ConsecutiveErrors = 0
		return
	}
	if !sameRun {
		result.ConsecutiveErrors++
	}
	if result.ConsecutiveErrors < threshold {
		result.Status = kubeproberv1.CheckerWarn
		result.Message = report.CleanText(fmt.Sprintf("%d of %d errors in a row: %s", result.ConsecutiveErrors, threshold, c.Message),
			kubeproberv1.MaxMessageLength)
	}
}

// summarize finds the most severe published result.
func summarize(results []kubeproberv1.CheckerResult) (status kubeproberv1.CheckerStatus, message string) {
	worst := -1
	for i := range results {
		if worst < 0 || results[i].Status.Severity() > results[worst].Status.Severity() {
			worst = i
		}
	}
	if worst < 0 {
		return "", ""
	}
	r := &results[worst]
	if r.Message == "" || r.Status == kubeproberv1.CheckerPass {
		return r.Status, ""
	}
	name := r.Name
	if r.Node != "" {
		name += " on " + r.Node
	}
	return r.Status, report.CleanText(name+": "+r.Message, kubeproberv1.MaxMessageLength)
}

func key(name, node string) string { return name + "\x00" + node }

func sortResults(results []kubeproberv1.CheckerResult) {
	slices.SortFunc(results, func(a, b kubeproberv1.CheckerResult) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
}
