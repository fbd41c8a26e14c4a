// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxHistory is how many past runs a ProbeStatus keeps.
const MaxHistory = 20

// RunRecord is one past run of a probe.
type RunRecord struct {
	// runID identifies the run; its Job and pods carry it as a label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	RunID string `json:"runID"`

	// start is when the run was started.
	// +required
	Start metav1.Time `json:"start"`

	// duration from the start to the end of the run.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`

	// status is the most severe verdict of the run.
	// +required
	Status CheckerStatus `json:"status"`

	// errorCount counts the checkers that said ERROR.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ErrorCount int32 `json:"errorCount,omitempty"`

	// total counts the checkers that reported.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total,omitempty"`

	// reason is why a run could not judge, as one word such as ImagePullBackOff; absent when it could.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says why a run could not judge.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ProbeOutcome is the latest outcome of a probe, with its checkers and a short history.
type ProbeOutcome struct {
	// status is the most severe published verdict; absent until the first run has ended.
	// +optional
	Status CheckerStatus `json:"status,omitempty"`

	// message of the most severe checker.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// lastRun is when the latest run that has ended was started.
	// +optional
	LastRun *metav1.Time `json:"lastRun,omitempty"`

	// lastRunID is the ID of that run.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	LastRunID string `json:"lastRunID,omitempty"`

	// lastReport is when the latest result arrived.
	// +optional
	LastReport *metav1.Time `json:"lastReport,omitempty"`

	// staleTime is when this outcome stops being trusted: two run intervals after lastRun. Absent for a probe that runs
	// only once.
	// +optional
	StaleTime *metav1.Time `json:"staleTime,omitempty"`

	// duration of that run.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`

	// checkers of the latest run, by name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Checkers []CheckerResult `json:"checkers,omitempty"`

	// omitted counts the results of the latest run that are not in checkers, because a run for every node has more than are
	// kept; they are the least severe ones. A result that is reported again may count again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Omitted int32 `json:"omitted,omitempty"`

	// history holds the newest 20 runs, newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	History []RunRecord `json:"history,omitempty"`
}

// ProbeStatus is the latest outcome of the Probe of the same name in this cluster. The agent writes it; people read it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=probestatuses,scope=Namespaced,categories=kubeprober
// +kubebuilder:printcolumn:name="STATUS",type=string,JSONPath=`.status.status`,description="Most severe verdict of its checkers"
// +kubebuilder:printcolumn:name="MESSAGE",type=string,JSONPath=`.status.message`,description="Message of the most severe checker"
// +kubebuilder:printcolumn:name="LASTRUN",type=date,JSONPath=`.status.lastRun`,description="Time since the latest run started"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="DURATION",type=string,priority=1,JSONPath=`.status.duration`,description="Duration of the latest run"
// +kubebuilder:printcolumn:name="RUNID",type=string,priority=1,JSONPath=`.status.lastRunID`,description="ID of the latest run"
type ProbeStatus struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is the latest outcome.
	// +optional
	Status ProbeOutcome `json:"status,omitempty"`
}

// ProbeStatusList is a list of ProbeStatuses.
//
// +kubebuilder:object:root=true
type ProbeStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProbeStatus `json:"items"`
}
