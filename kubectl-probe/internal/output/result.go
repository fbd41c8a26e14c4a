// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package output turns results into what a command prints: rows, tables, and the documented JSON of `status`. It knows
// nothing of where results come from.
package output

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// None stands in a cell that has nothing to say.
const None = "<none>"

// ReportVersion is the apiVersion of StatusReport.
const ReportVersion = "cli.kubeprober.erda.cloud/v1"

// ReportKind is the kind of StatusReport.
const ReportKind = "StatusReport"

// Result is what one checker said last, or that a probe has said nothing.
type Result struct {
	// Cluster is the managed cluster; empty for the cluster of the kubeconfig.
	Cluster string `json:"cluster,omitempty"`
	// Prober is the name of the probe.
	Prober string `json:"prober"`
	// Checker is the name of the checker; empty for what concerns the probe as a whole.
	Checker string `json:"checker,omitempty"`
	// Node is the node that the checker judged, if it judged one.
	Node string `json:"node,omitempty"`
	// Status is PASS, INFO, UNKNOWN, WARN or ERROR; Pending or Running for a probe that has not reported.
	Status string `json:"status"`
	// Message explains the status.
	Message string `json:"message,omitempty"`
	// LastRun is when the checker reached the verdict.
	LastRun *metav1.Time `json:"lastRun,omitempty"`
	// StaleTime is when the result stops being trusted.
	StaleTime *metav1.Time `json:"staleTime,omitempty"`
	// Stale tells that this time has passed.
	Stale bool `json:"stale,omitempty"`
}

// ClusterError tells of a cluster whose results could not be read.
type ClusterError struct {
	Cluster string `json:"cluster"`
	Message string `json:"message"`
}

// StatusReport is what `status -o json` prints.
type StatusReport struct {
	metav1.TypeMeta `json:",inline"`
	// Items holds the results, sorted by cluster, prober, checker and node.
	Items []Result `json:"items"`
	// Errors names the clusters that Items says nothing of.
	Errors []ClusterError `json:"errors,omitempty"`
}

// NewStatusReport makes a report of sorted results.
func NewStatusReport(results []Result, errors []ClusterError) *StatusReport {
	if results == nil {
		// `items` is a list even when it is empty.
		results = []Result{}
	}
	return &StatusReport{
		TypeMeta: metav1.TypeMeta{APIVersion: ReportVersion, Kind: ReportKind},
		Items:    results,
		Errors:   errors,
	}
}

// DeepCopyObject makes StatusReport a runtime.Object, which is what printers take.
func (r *StatusReport) DeepCopyObject() runtime.Object {
	copied := *r
	copied.Items = make([]Result, len(r.Items))
	for i, item := range r.Items {
		item.LastRun, item.StaleTime = item.LastRun.DeepCopy(), item.StaleTime.DeepCopy()
		copied.Items[i] = item
	}
	copied.Errors = slices.Clone(r.Errors)
	return &copied
}

// FromStatus lists the results that the ProbeStatus of a probe holds.
func FromStatus(cluster string, status *kubeproberv1.ProbeStatus, now time.Time) []Result {
	outcome := &status.Status
	stale := outcome.StaleTime != nil && !now.Before(outcome.StaleTime.Time)
	var results []Result
	explained := false
	for _, checker := range outcome.Checkers {
		explained = explained || checker.Status == outcome.Status
		results = append(results, Result{
			Cluster: cluster, Prober: status.Name, Checker: checker.Name, Node: checker.Node,
			Status: string(checker.Status), Message: checker.Message, LastRun: checker.LastRun,
			StaleTime: outcome.StaleTime, Stale: stale,
		})
	}
	switch {
	case outcome.Status == "" && len(results) == 0:
		results = append(results, Pending(cluster, status.Name, "no run has ended yet"))
	case !explained && outcome.Status != "":
		// The verdict on the probe as a whole: a run that ended without a report has no checker to speak for it.
		results = append(results, Result{
			Cluster: cluster, Prober: status.Name, Status: string(outcome.Status), Message: outcome.Message,
			LastRun: outcome.LastRun, StaleTime: outcome.StaleTime, Stale: stale,
		})
	}
	return results
}

// Pending is the row of a probe that has not reported.
func Pending(cluster, probe, why string) Result {
	return Result{Cluster: cluster, Prober: probe, Status: string(kubeproberv1.RunPending), Message: why}
}

// FromRun lists the results of a one-time diagnosis.
func FromRun(run *kubeproberv1.ProbeRun) []Result {
	var results []Result
	for i := range run.Status.Probes {
		results = append(results, fromRunProbe(run.Spec.ClusterName, &run.Status.Probes[i])...)
	}
	if len(run.Status.Probes) == 0 {
		for _, probe := range run.Spec.Probes {
			results = append(results, Pending(run.Spec.ClusterName, probe.Name, WaitsFor(run)))
		}
	}
	Sort(results)
	return results
}

func fromRunProbe(cluster string, probe *kubeproberv1.RunProbeStatus) []Result {
	var results []Result
	explained := false
	for _, checker := range probe.Checkers {
		explained = explained || checker.Status == probe.Status
		results = append(results, Result{
			Cluster: cluster, Prober: probe.Name, Checker: checker.Name, Node: checker.Node,
			Status: string(checker.Status), Message: checker.Message, LastRun: checker.LastRun,
		})
	}
	switch {
	case !probe.Phase.Finished() && len(results) == 0:
		results = append(results, Result{
			Cluster: cluster, Prober: probe.Name, Status: string(probe.Phase), Message: probe.Message, LastRun: probe.StartTime,
		})
	case probe.Phase.Finished() && !explained:
		status := probe.Status
		if status == "" {
			status = kubeproberv1.CheckerUnknown
		}
		last := probe.FinishTime
		if last == nil {
			last = probe.StartTime
		}
		results = append(results, Result{
			Cluster: cluster, Prober: probe.Name, Status: string(status), Message: probe.Message, LastRun: last,
		})
	}
	return results
}

// WaitsFor tells what a run that has not started waits for; empty when it does not say.
func WaitsFor(run *kubeproberv1.ProbeRun) string {
	for _, condition := range run.Status.Conditions {
		if condition.Type == kubeproberv1.ProbeRunAcceptedCondition && condition.Status != metav1.ConditionTrue {
			return condition.Message
		}
	}
	return ""
}

// Sort orders results by cluster, prober, checker and node.
func Sort(results []Result) {
	slices.SortStableFunc(results, func(a, b Result) int {
		return cmp.Or(
			cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Prober, b.Prober),
			cmp.Compare(a.Checker, b.Checker), cmp.Compare(a.Node, b.Node),
		)
	})
}

// Tally counts results by what they say about health.
type Tally struct {
	// Total counts the results.
	Total int
	// Errors counts ERROR, and Warnings WARN, among the results that can be trusted.
	Errors, Warnings int
	// Unjudged counts what is UNKNOWN, stale or not reported.
	Unjudged int
}

// Count tallies results. A stale one is no verdict, whatever it says.
func Count(results []Result) Tally {
	tally := Tally{Total: len(results)}
	for _, result := range results {
		switch status := kubeproberv1.CheckerStatus(result.Status); {
		case result.Stale, status == kubeproberv1.CheckerUnknown, status.Severity() < 0:
			tally.Unjudged++
		case status == kubeproberv1.CheckerError:
			tally.Errors++
		case status == kubeproberv1.CheckerWarn:
			tally.Warnings++
		}
	}
	return tally
}
