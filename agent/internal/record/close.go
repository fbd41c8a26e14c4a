// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// closed is what is known at the end of a run.
type closed struct {
	results []kubeproberv1.CheckerResult
	// worst verdict of the run itself, whatever its publication is damped to.
	worst kubeproberv1.CheckerStatus
	// errors and total count the checkers that said ERROR, and that reported.
	errors, total int32
	// omitted counts the results that are not kept.
	omitted int32
	// reason and message say why the run could not judge, or which nodes it left out; empty when it could and did not.
	reason, message string
	// vanished tells which checkers an earlier run had reported, and this one has not.
	vanished string
	// complete tells that the run had no gap.
	complete bool
}

// closing is what there is when a run is closed.
type closing struct {
	// results of the run and of those before it, of which omitted more were not kept.
	results []kubeproberv1.CheckerResult
	omitted int32
	probe   string
	runID   string
	// threshold is how many ERRORs in a row are published as ERROR.
	threshold int32
}

// closeRun turns the results of a run under way into those of one that has ended. What its containers said otherwise is taken
// where nothing was reported. After a complete run only what it said is left. A run with gaps gets an UNKNOWN result for each,
// named by the probe, and what earlier runs had said where the gap is becomes UNKNOWN too: it was to be checked and was not.
func closeRun(from closing, e *Ending) closed {
	c := closed{omitted: from.omitted, total: from.omitted}
	results, gaps := from.hear(e)
	names := map[string]bool{}
	for i := range results {
		if r := &results[i]; r.RunID == from.runID {
			names[key(r.Name, r.Node)] = true
			c.count(r)
			c.results = append(c.results, *r)
		}
	}
	c.complete = len(gaps) == 0
	for i := range gaps {
		c.addGap(results, names, from.probe, from.runID, &gaps[i], e.End)
	}
	if c.complete {
		c.message = report.CleanText(e.LeftOut, kubeproberv1.MaxMessageLength)
	}
	c.miss(results, from.runID)
	c.bound(from.runID)
	return c
}

// hear adds what the containers said on nodes that have not reported, and lists the gaps, at most one for each node.
func (from closing) hear(e *Ending) (results []kubeproberv1.CheckerResult, gaps []Gap) {
	results = from.results
	reported := Heard(results, from.runID)
	gaps = slices.Clone(e.Gaps)
	for _, node := range e.Nodes {
		statement, ok := e.Statements[node]
		gap := statement.Failure
		if !ok {
			continue
		}
		if !reported(node) {
			results = merge(results, from.runID, node, statement.Results, from.threshold, e.End)
			gap = statement.Gap
		}
		if gap.Reason != "" {
			gaps = append(gaps, gap)
		}
	}
	return results, joinGaps(gaps)
}

// joinGaps makes one gap of those on one node.
func joinGaps(gaps []Gap) []Gap {
	var joined []Gap
	index := map[string]int{}
	for _, gap := range gaps {
		at, known := index[gap.Node]
		if !known {
			index[gap.Node] = len(joined)
			joined = append(joined, gap)
			continue
		}
		first := &joined[at]
		first.Message += "; " + gap.Reason + ": " + gap.Message
		if first.Log == "" {
			first.Log = gap.Log
		}
	}
	return joined
}

func (c *closed) count(r *kubeproberv1.CheckerResult) {
	verdict := r.Status
	if r.ConsecutiveErrors > 0 {
		verdict = kubeproberv1.CheckerError
		c.errors++
	}
	c.total++
	c.worst = worstOf(c.worst, verdict)
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

// miss finds the checkers of earlier runs that are not among the results any more.
func (c *closed) miss(earlier []kubeproberv1.CheckerResult, runID string) {
	const most = 10
	there := make(map[string]bool, len(c.results))
	for i := range c.results {
		there[key(c.results[i].Name, c.results[i].Node)] = true
	}
	var names []string
	gone := 0
	for i := range earlier {
		r := &earlier[i]
		if r.RunID == runID || there[key(r.Name, r.Node)] {
			continue
		}
		if gone++; gone > most {
			continue
		}
		name := r.Name
		if r.Node != "" {
			name += " on " + r.Node
		}
		names = append(names, name)
	}
	if gone > most {
		names = append(names, fmt.Sprintf("and %d more", gone-most))
	}
	if gone > 0 {
		c.vanished = "no longer reported: " + strings.Join(names, ", ")
	}
}

// bound keeps the results within what the API takes; the most severe ones stay.
func (c *closed) bound(runID string) {
	var dropped int32
	c.results, dropped = makeRoom(c.results, runID, dropOwn)
	c.omitted += dropped
	if tooLarge(c.results) {
		shorten(c.results)
	}
	sortResults(c.results)
}

// shown is the message beside a summary of the results: it tells that some of them are left out.
func (c *closed) shown(summary string) string { return joinTexts(summary, omission(c.omitted)) }

// remembered is the message in the history.
func (c *closed) remembered() string {
	return joinTexts(c.message, omission(c.omitted), c.vanished)
}

func omission(omitted int32) string {
	if omitted == 0 {
		return ""
	}
	return fmt.Sprintf("%d results are left out, the least severe ones: at most %d are kept", omitted, kubeproberv1.MaxCheckers)
}

// joinTexts joins texts that are not empty within the bound of a message. The first is cut so that the others can be read.
func joinTexts(first string, others ...string) string {
	others = slices.DeleteFunc(others, func(text string) bool { return text == "" })
	if len(others) == 0 {
		return first
	}
	rest := report.CleanText(strings.Join(others, "; "), kubeproberv1.MaxMessageLength*3/4)
	if first == "" {
		return rest
	}
	return report.CleanText(first, kubeproberv1.MaxMessageLength-len([]rune(rest))-len("; ")) + "; " + rest
}

func worstOf(a, b kubeproberv1.CheckerStatus) kubeproberv1.CheckerStatus {
	if a == "" {
		return b
	}
	return a.Worst(b)
}
