// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// maxObjectBytes bounds the results in one object; etcd takes 1.5 MiB.
	maxObjectBytes = 1 << 20
	// certainBytes is how much text surely stays below it, whatever its encoding.
	certainBytes = 1 << 16
	// shortMessage bounds the messages of results that do not fit otherwise, in characters.
	shortMessage = 80
)

// fit brings the results of a run under way within what is kept. First those of earlier runs go, the least severe first: nodes
// that are gone must not keep out those that have come. A checker that reports too much by itself is told so by the error. The
// nodes of a run cannot be blamed for being many: their messages are cut, and their least severe results are left out, but for
// one of each node; omitted is how many.
func fit(results []kubeproberv1.CheckerResult, runID, node string, others ...[]kubeproberv1.CheckerResult) (kept []kubeproberv1.CheckerResult, omitted int32, err error) {
	if checkBounds(results, others...) == nil {
		return results, 0, nil
	}
	kept, _ = makeRoom(results, runID, keepOwn)
	if checkBounds(kept, others...) == nil || node == "" {
		return kept, 0, checkBounds(kept, others...)
	}
	if tooLarge(append(others, kept)...) {
		shorten(kept)
	}
	kept, omitted = makeRoom(kept, runID, dropOwn)
	return kept, omitted, checkBounds(kept, others...)
}

func checkBounds(results []kubeproberv1.CheckerResult, others ...[]kubeproberv1.CheckerResult) error {
	if len(results) > kubeproberv1.MaxCheckers {
		return fmt.Errorf("%w: %d, more than %d", ErrTooMany, len(results), kubeproberv1.MaxCheckers)
	}
	if tooLarge(append(others, results)...) {
		return ErrTooLarge
	}
	return nil
}

// room says which results may be dropped to make room.
type room int

const (
	// keepOwn drops results of earlier runs only.
	keepOwn room = iota
	// dropOwn drops results of the run itself as well, but for the most severe one of each node.
	dropOwn
)

// makeRoom drops results, the least severe first, until the rest is within what is kept, and counts those of the run itself that
// it drops. When the results are too large it drops all of earlier runs.
func makeRoom(results []kubeproberv1.CheckerResult, runID string, what room) (kept []kubeproberv1.CheckerResult, dropped int32) {
	excess := len(results) - kubeproberv1.MaxCheckers
	all := tooLarge(results)
	if excess <= 0 && !all {
		return results, 0
	}
	bySeverity := slices.Clone(results)
	slices.SortStableFunc(bySeverity, func(a, b kubeproberv1.CheckerResult) int {
		return cmp.Or(cmp.Compare(b.Status.Severity(), a.Status.Severity()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
	own := func(r *kubeproberv1.CheckerResult) bool { return r.RunID == runID }
	drop := make([]bool, len(bySeverity))
	for i := len(bySeverity) - 1; i >= 0 && (excess > 0 || all); i-- {
		if !own(&bySeverity[i]) {
			drop[i] = true
			excess--
		}
	}
	if what == dropOwn {
		// The first of a node is its most severe one.
		seen := map[string]bool{}
		spare := make([]bool, len(bySeverity))
		for i := range bySeverity {
			spare[i] = own(&bySeverity[i]) && seen[bySeverity[i].Node]
			seen[bySeverity[i].Node] = seen[bySeverity[i].Node] || own(&bySeverity[i])
		}
		for i := len(bySeverity) - 1; i >= 0 && excess > 0; i-- {
			if spare[i] {
				drop[i] = true
				dropped++
				excess--
			}
		}
	}
	for i := range bySeverity {
		if !drop[i] {
			kept = append(kept, bySeverity[i])
		}
	}
	sortResults(kept)
	return kept, dropped
}

// shorten cuts messages so that as many results as are kept fit.
func shorten(results []kubeproberv1.CheckerResult) {
	for i := range results {
		results[i].Message = report.CleanText(results[i].Message, shortMessage)
	}
}

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
