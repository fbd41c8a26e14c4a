// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// What the Jobs of a run for every node say of the others, so that one that somebody removes is missed.
const (
	// nodeCountAnnotation holds how many nodes the run goes to.
	nodeCountAnnotation = kubeproberv1.GroupName + "/node-count"
	// nodesAnnotation holds the names of these nodes. Only the first few Jobs have it: it may be long.
	nodesAnnotation = kubeproberv1.GroupName + "/nodes"
	// listings is how many Jobs have it.
	listings = 3
)

// placement annotates the i-th Job of a run that goes to the given nodes, and leaves others out.
func placement(nodes []string, i int, leftOut string) map[string]string {
	annotations := map[string]string{nodeCountAnnotation: strconv.Itoa(len(nodes))}
	if i < listings {
		annotations[nodesAnnotation] = strings.Join(nodes, ",")
	}
	if leftOut != "" {
		annotations[leftOutAnnotation] = leftOut
	}
	return annotations
}

// missing says which nodes of a run have lost their Job.
func missing(g Group) []record.Gap {
	there := map[string]bool{}
	var expected []string
	count := 0
	for _, job := range g.Jobs {
		there[run.MetaOf(job).Node] = true
		// A run whose start was cut short may have been completed for other nodes.
		if listed := job.Annotations[nodesAnnotation]; listed != "" {
			expected = append(expected, strings.Split(listed, ",")...)
		}
		// What somebody has spoilt counts for nothing.
		said, _ := strconv.Atoi(job.Annotations[nodeCountAnnotation])
		count = max(count, said)
	}
	slices.Sort(expected)
	var gaps []record.Gap
	for _, node := range slices.Compact(expected) {
		if !there[node] {
			gaps = append(gaps, record.Gap{Node: node, Reason: run.ReasonJobDeleted, Message: "the Job for this node was removed before it ended"})
		}
	}
	if lost := count - len(there); len(expected) == 0 && lost > 0 {
		gaps = append(gaps, record.Gap{Reason: run.ReasonJobDeleted, Message: fmt.Sprintf("%d of the Jobs for %d nodes were removed before they ended", lost, count)})
	}
	return gaps
}
