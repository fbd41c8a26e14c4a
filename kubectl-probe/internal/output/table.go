// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// maxCell bounds a cell, in characters; it is above every bound of the API.
const maxCell = 2048

// wide is the priority of a column that only -o wide shows.
const wide = 1

// messageColumn is the column that gives way where there is little room.
const messageColumn = "MESSAGE"

// column is one column of a table of items.
type column[T any] struct {
	name     string
	priority int32
	cell     func(T) string
}

// table makes one row for each of items.
func table[T any](columns []column[T], items []T) *metav1.Table {
	made := &metav1.Table{TypeMeta: metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "Table"}}
	for _, c := range columns {
		made.ColumnDefinitions = append(made.ColumnDefinitions,
			metav1.TableColumnDefinition{Name: c.name, Type: "string", Priority: c.priority})
	}
	for _, item := range items {
		row := metav1.TableRow{}
		for _, c := range columns {
			row.Cells = append(row.Cells, cell(c.cell(item)))
		}
		made.Rows = append(made.Rows, row)
	}
	return made
}

// cell makes text of others safe to show, and an empty cell visible.
func cell(text string) string {
	if text = report.CleanText(text, maxCell); text == "" {
		return None
	}
	return text
}

// ResultsTable shows results; the column CLUSTER comes first when byCluster is set.
func ResultsTable(results []Result, byCluster bool, now time.Time) *metav1.Table {
	columns := []column[Result]{
		{"PROBER", 0, func(r Result) string { return r.Prober }},
		{"CHECKER", 0, func(r Result) string { return r.Checker }},
		{"STATUS", 0, func(r Result) string { return r.Status }},
		{messageColumn, 0, func(r Result) string { return r.Message }},
		{"LASTRUN", 0, func(r Result) string { return lastRun(r, now) }},
		{"NODE", wide, func(r Result) string { return r.Node }},
	}
	if byCluster {
		columns = append([]column[Result]{{"CLUSTER", 0, func(r Result) string { return r.Cluster }}}, columns...)
	}
	return table(columns, results)
}

// RunsTable shows one-time diagnoses.
func RunsTable(runs []kubeproberv1.ProbeRun, now time.Time) *metav1.Table {
	return table([]column[kubeproberv1.ProbeRun]{
		{"ID", 0, func(r kubeproberv1.ProbeRun) string { return r.Name }},
		{"PROBES", 0, func(r kubeproberv1.ProbeRun) string { return strings.Join(RunProbes(&r), ",") }},
		{"STATUS", 0, func(r kubeproberv1.ProbeRun) string { return string(Phase(&r)) }},
		{"CREATETIME", 0, func(r kubeproberv1.ProbeRun) string { return age(&r.CreationTimestamp, now) }},
		{"FINISHTIME", 0, func(r kubeproberv1.ProbeRun) string { return age(r.Status.FinishTime, now) }},
		{"MESSAGE", wide, func(r kubeproberv1.ProbeRun) string { return WaitsFor(&r) }},
	}, runs)
}

// Phase of a run; one that nobody has looked at is Pending.
func Phase(run *kubeproberv1.ProbeRun) kubeproberv1.RunPhase {
	if run.Status.Phase == "" {
		return kubeproberv1.RunPending
	}
	return run.Status.Phase
}

// RunProbes names the probes of a run; none while a run of all probes has not been resolved.
func RunProbes(run *kubeproberv1.ProbeRun) []string {
	var names []string
	for i := range run.Status.Probes {
		names = append(names, run.Status.Probes[i].Name)
	}
	if len(names) > 0 {
		return names
	}
	for _, probe := range run.Spec.Probes {
		names = append(names, probe.Name)
	}
	return names
}

func lastRun(result Result, now time.Time) string {
	text := age(result.LastRun, now)
	if result.Stale {
		text += " (stale)"
	}
	return text
}

// age tells how long ago t was, as kubectl does.
func age(t *metav1.Time, now time.Time) string {
	if t == nil || t.IsZero() {
		return None
	}
	// The clocks of two clusters differ a little.
	return duration.HumanDuration(max(0, now.Sub(t.Time)))
}
