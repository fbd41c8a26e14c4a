// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"encoding/json"
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
	// Gaps of the run.
	Gaps []Gap
	// Silent is the gap of a node that ended well; it counts only when nothing was reported there.
	Silent map[string]Gap
	// LeftOut tells the nodes that the run did not go to, and why.
	LeftOut string
}

// loseReports makes the silence of a run no fault of its checkers.
func (e *Ending) loseReports() {
	for node, gap := range e.Silent {
		gap.Message, gap.Log = "no result is known: somebody removed the ProbeStatus after the run had started", ""
		e.Silent[node] = gap
	}
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

// makeRoom drops results of earlier runs, the least severe first, until the rest is within what is kept: nodes that are gone
// must not keep out those that have come. When the results are too large it drops all of these.
func makeRoom(results []kubeproberv1.CheckerResult, runID string) []kubeproberv1.CheckerResult {
	excess := len(results) - kubeproberv1.MaxCheckers
	if tooLarge(results) {
		excess = len(results)
	}
	bySeverity := slices.Clone(results)
	slices.SortStableFunc(bySeverity, func(a, b kubeproberv1.CheckerResult) int {
		return cmp.Compare(a.Status.Severity(), b.Status.Severity())
	})
	kept := make([]kubeproberv1.CheckerResult, 0, len(results))
	for i := range bySeverity {
		if excess > 0 && bySeverity[i].RunID != runID {
			excess--
			continue
		}
		kept = append(kept, bySeverity[i])
	}
	sortResults(kept)
	return kept
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

// closed is what is known at the end of a run.
type closed struct {
	results []kubeproberv1.CheckerResult
	// worst verdict of the run itself, whatever its publication is damped to.
	worst kubeproberv1.CheckerStatus
	// errors and total count the checkers that said ERROR, and that reported.
	errors, total int32
	// reason and message say why the run could not judge; empty when it could.
	reason, message string
	// complete tells that the run had no gap.
	complete bool
}

// closeRun turns the results of a run under way into those of one that has ended. After a complete run only what it reported
// is left. A run with gaps gets an UNKNOWN result for each, named by the probe, and what earlier runs had said where the gap
// is becomes UNKNOWN too: it was to be checked and was not.
func closeRun(results []kubeproberv1.CheckerResult, probe, runID string, e *Ending) closed {
	var c closed
	reportedOn := map[string]bool{}
	names := map[string]bool{}
	for i := range results {
		if r := &results[i]; r.RunID == runID {
			reportedOn[r.Node] = true
			names[key(r.Name, r.Node)] = true
			c.count(r)
			c.results = append(c.results, *r)
		}
	}
	gaps := slices.Clone(e.Gaps)
	for _, node := range e.Nodes {
		silent, ok := e.Silent[node]
		if ok && !reportedOn[node] && !slices.ContainsFunc(gaps, func(g Gap) bool { return g.Node == node }) {
			gaps = append(gaps, silent)
		}
	}
	c.complete = len(gaps) == 0
	for i := range gaps {
		c.addGap(results, names, probe, runID, &gaps[i], e.End)
	}
	if c.complete {
		c.message = report.CleanText(e.LeftOut, kubeproberv1.MaxMessageLength)
	}
	sortResults(c.results)
	c.bound()
	return c
}

func (c *closed) count(r *kubeproberv1.CheckerResult) {
	verdict := r.Status
	if r.ConsecutiveErrors > 0 {
		verdict = kubeproberv1.CheckerError
		c.errors++
	}
	c.total++
	if c.total == 1 {
		c.worst = verdict
	}
	c.worst = c.worst.Worst(verdict)
}

func (c *closed) addGap(earlier []kubeproberv1.CheckerResult, reported map[string]bool, probe, runID string, gap *Gap, end time.Time) {
	at := metav1.NewTime(end).Rfc3339Copy()
	text := gap.text()
	if c.reason == "" {
		c.reason, c.message = gap.Reason, text
	}
	// The probe's own name, unless a checker of this run has it.
	name, long := probe, probe+"/run"
	if reported[key(name, gap.Node)] {
		name = long
	}
	c.worst = worstOf(c.worst, kubeproberv1.CheckerUnknown)
	c.results = append(c.results, kubeproberv1.CheckerResult{
		Name: name, Node: gap.Node, Status: kubeproberv1.CheckerUnknown, Message: text, LastRun: &at, RunID: runID,
	})
	for i := range earlier {
		r := earlier[i]
		if r.RunID == runID || r.Node != gap.Node || r.Name == name || r.Name == long || reported[key(r.Name, r.Node)] {
			continue
		}
		r.Status, r.Message = kubeproberv1.CheckerUnknown, report.CleanText("not checked: "+text, kubeproberv1.MaxMessageLength/4)
		r.LastRun, r.RunID, r.ConsecutiveErrors = &at, runID, 0
		c.results = append(c.results, r)
	}
}

// bound keeps the results within what the API takes; the most severe ones stay.
func (c *closed) bound() {
	if len(c.results) <= kubeproberv1.MaxCheckers {
		return
	}
	slices.SortStableFunc(c.results, func(a, b kubeproberv1.CheckerResult) int {
		return cmp.Compare(b.Status.Severity(), a.Status.Severity())
	})
	c.results = c.results[:kubeproberv1.MaxCheckers]
	sortResults(c.results)
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

func worstOf(a, b kubeproberv1.CheckerStatus) kubeproberv1.CheckerStatus {
	if a == "" {
		return b
	}
	return a.Worst(b)
}

func key(name, node string) string { return name + "\x00" + node }

func sortResults(results []kubeproberv1.CheckerResult) {
	slices.SortFunc(results, func(a, b kubeproberv1.CheckerResult) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
}

const (
	// maxObjectBytes bounds the results in one object; etcd takes 1.5 MiB.
	maxObjectBytes = 1 << 20
	// certainBytes is how much text surely stays below it, whatever its encoding.
	certainBytes = 1 << 16
)

// tooLarge tells whether results do not fit into one object.
func tooLarge(results ...[]kubeproberv1.CheckerResult) bool {
	var plain, count int
	for _, list := range results {
		for i := range list {
			plain += len(list[i].Message) + len(list[i].Name) + len(list[i].Node)
		}
		count += len(list)
	}
	if plain <= certainBytes && count <= kubeproberv1.MaxCheckers {
		return false
	}
	data, err := json.Marshal(results)
	return err != nil || len(data) > maxObjectBytes
}
