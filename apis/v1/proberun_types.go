// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunPhase is where a one-time diagnosis, or one of its probes, stands.
//
// +kubebuilder:validation:Enum=Pending;Running;Succeeded;Failed;Incomplete
type RunPhase string

// The phases of a run.
const (
	// RunPending has not started.
	RunPending RunPhase = "Pending"
	// RunRunning has started and not ended.
	RunRunning RunPhase = "Running"
	// RunSucceeded ended, every checker was judged, and none says ERROR.
	RunSucceeded RunPhase = "Succeeded"
	// RunFailed ended, and a checker says ERROR.
	RunFailed RunPhase = "Failed"
	// RunIncomplete ended without a verdict on everything: something is UNKNOWN, and nothing says ERROR.
	RunIncomplete RunPhase = "Incomplete"
)

// Finished tells whether the phase is final.
func (p RunPhase) Finished() bool {
	return p == RunSucceeded || p == RunFailed || p == RunIncomplete
}

const (
	// MaxRunProbes is how many probes one ProbeRun may name.
	MaxRunProbes = 64
	// MaxProbeRuns is how many ProbeRuns of one cluster are kept.
	MaxProbeRuns = 20
	// MaxOnceProbeList is how many one-time diagnoses the status of a Cluster names.
	MaxOnceProbeList = 5
)

// RunProbe names a probe to run.
type RunProbe struct {
	// name of the Probe.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// spec of the probe. On the master it is absent, and filled in when the run is handed to the cluster; in a managed
	// cluster an absent spec means the Probe of that name in the same namespace.
	// +optional
	Spec *ProbeSpec `json:"spec,omitempty"`
}

// ProbeRunSpec says what to diagnose.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusterName) == has(oldSelf.clusterName) && (!has(self.clusterName) || self.clusterName == oldSelf.clusterName)",message="clusterName cannot be changed: create another ProbeRun"
// +kubebuilder:validation:XValidation:rule="has(self.probes) == has(oldSelf.probes) && (!has(self.probes) || (size(self.probes) == size(oldSelf.probes) && self.probes.all(p, oldSelf.probes.exists(o, o.name == p.name))))",message="probes cannot be changed: create another ProbeRun"
type ProbeRunSpec struct {
	// clusterName is the Cluster to diagnose. Required on the master; without meaning in a managed cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	ClusterName string `json:"clusterName,omitempty"`

	// probes to run. Absent: on the master all probes attached to the Cluster, in a managed cluster all Probes of the
	// namespace.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Probes []RunProbe `json:"probes,omitempty"`

	// ttlSecondsAfterFinished is after how many seconds a finished run is removed. Absent: it is kept until 20 newer ones
	// of its cluster exist.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// RunProbeStatus is the result of one probe of a run.
type RunProbeStatus struct {
	// name of the probe.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// phase of this probe.
	// +required
	Phase RunPhase `json:"phase"`

	// runID identifies the Job and pods of this probe.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	RunID string `json:"runID,omitempty"`

	// status is the most severe verdict; absent while the probe has not reported.
	// +optional
	Status CheckerStatus `json:"status,omitempty"`

	// message says what the probe waits for, or why it could not judge.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// startTime is when the run of this probe was started.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// finishTime is when it ended.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`

	// checkers that have reported so far.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Checkers []CheckerResult `json:"checkers,omitempty"`

	// omitted counts the results that are not in checkers, because a run for every node has more than are kept; they are the
	// least severe ones. A result that is reported again may count again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Omitted int32 `json:"omitted,omitempty"`
}

// ProbeRunStatus is how far a one-time diagnosis is, and its results.
type ProbeRunStatus struct {
	// phase: Pending, Running, Succeeded, Failed (a checker says ERROR) or Incomplete (something could not be judged).
	// +optional
	Phase RunPhase `json:"phase,omitempty"`

	// startTime is when the first probe was started.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// finishTime is when the last probe ended.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`

	// probes holds the results by probe.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Probes []RunProbeStatus `json:"probes,omitempty"`

	// conditions: Accepted and Finished.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ProbeRun is a one-time diagnosis of one cluster: one or more probes, run now, kept as a record. Its name is its ID, the
// Unix time of its creation in seconds. The master hands it to the managed cluster, whose agent runs it; both write its status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=kpr,categories=kubeprober
// +kubebuilder:printcolumn:name="CLUSTER",type=string,JSONPath=`.spec.clusterName`,description="Cluster that is diagnosed"
// +kubebuilder:printcolumn:name="PROBES",type=string,JSONPath=`.status.probes[*].name`,description="Probes that run"
// +kubebuilder:printcolumn:name="STATUS",type=string,JSONPath=`.status.phase`,description="Pending, Running, Succeeded, Failed or Incomplete"
// +kubebuilder:printcolumn:name="FINISHTIME",type=date,JSONPath=`.status.finishTime`,description="Time since it ended"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
type ProbeRun struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to diagnose. It cannot be changed.
	// +optional
	Spec ProbeRunSpec `json:"spec,omitempty"`

	// status is how far the diagnosis is, and its results.
	// +optional
	Status ProbeRunStatus `json:"status,omitempty"`
}

// ProbeRunList is a list of ProbeRuns.
//
// +kubebuilder:object:root=true
type ProbeRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProbeRun `json:"items"`
}
