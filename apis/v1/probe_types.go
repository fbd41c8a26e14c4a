// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ProbeState tells whether the scheduler runs a probe.
//
// +kubebuilder:validation:Enum=Active;Suspended
type ProbeState string

// The states of a probe.
const (
	// ProbeActive runs by its policy.
	ProbeActive ProbeState = "Active"
	// ProbeSuspended starts no scheduled runs; a run that is under way ends as usual, and ProbeRuns still run.
	ProbeSuspended ProbeState = "Suspended"
)

// ProbePlacement tells where the pods of a run go.
//
// +kubebuilder:validation:Enum=AnyNode;EveryNode
type ProbePlacement string

// The placements of a probe.
const (
	// PlaceAnyNode runs one pod where the scheduler puts it.
	PlaceAnyNode ProbePlacement = "AnyNode"
	// PlaceEveryNode runs one pod on each node that the template allows.
	PlaceEveryNode ProbePlacement = "EveryNode"
)

// ProbePolicy says when a probe runs and how its results count.
//
// +kubebuilder:validation:XValidation:rule="!has(self.schedule) || !has(self.runInterval) || self.runInterval == 0",message="schedule and runInterval exclude each other: set one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.runIntervalRandom) || self.runIntervalRandom == 0 || (has(self.runInterval) && self.runIntervalRandom <= self.runInterval)",message="runIntervalRandom spreads runInterval: it must not be larger, and needs runInterval"
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || has(self.schedule)",message="timeZone needs schedule"
type ProbePolicy struct {
	// runInterval is how often the probe runs, in minutes. Absent or 0: once for each generation of the Probe.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=525600
	RunInterval *int32 `json:"runInterval,omitempty"`

	// runIntervalRandom spreads the runs of a fleet over so many minutes. The offset of a cluster and probe is fixed by
	// hash, so the interval between two runs stays runInterval.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=525600
	RunIntervalRandom *int32 `json:"runIntervalRandom,omitempty"`

	// schedule is a cron expression of five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly. Excludes
	// runInterval.
	// +optional
	// +kubebuilder:validation:MinLength=6
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ \\t@]+([ \\t]+[^ \\t]+){4})$')",message="schedule must be a cron expression of five fields, such as '*/45 * * * *', or one of @hourly, @daily, @weekly, @monthly, @yearly"
	Schedule *string `json:"schedule,omitempty"`

	// timeZone of schedule, as an IANA name such as Europe/Berlin. Defaults to UTC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone *string `json:"timeZone,omitempty"`

	// timeoutSeconds is how long a run may take before it is stopped and recorded as UNKNOWN. Defaults to 1800; a run
	// never gets longer than runInterval.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`

	// failureThreshold is how many ERROR verdicts in a row a checker needs before its published status turns ERROR;
	// before that it is WARN. Defaults to 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	FailureThreshold *int32 `json:"failureThreshold,omitempty"`

	// state is Active (the default) or Suspended: a suspended probe keeps its results and starts no scheduled runs.
	// +optional
	State ProbeState `json:"state,omitempty"`

	// placement is AnyNode (the default: one pod) or EveryNode (one pod on each node that the template allows).
	// +optional
	Placement ProbePlacement `json:"placement,omitempty"`
}

// ProbeConfig is a named set of environment variables, one set for a group of checkers.
type ProbeConfig struct {
	// name tells what the variables are for.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// env is given to every container of the template. A variable that the container sets itself wins.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Env []corev1.EnvVar `json:"env,omitempty"`
}

// ProbeSpec is a set of checkers in one pod template, with a policy of when to run.
//
// +kubebuilder:validation:XValidation:rule="size(self.template.containers) > 0",message="template needs at least one container"
// +kubebuilder:validation:XValidation:rule="!has(self.template.restartPolicy) || self.template.restartPolicy != 'Always'",message="template.restartPolicy must be Never or OnFailure: a probe runs to its end"
type ProbeSpec struct {
	// policy says when the probe runs and how its results count.
	// +optional
	Policy ProbePolicy `json:"policy,omitempty"`

	// template is the PodSpec of the checkers.
	// +required
	Template corev1.PodSpec `json:"template"`

	// configs holds environment variables; those of all configs are given to every container.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Configs []ProbeConfig `json:"configs,omitempty"`
}

// ProbeObservation is what is known of a Probe: on a managed cluster when it runs, on the master where it is attached.
type ProbeObservation struct {
	// observedGeneration is the generation that the rest of the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// attachedClusters counts the Clusters that carry this probe's label. Set on the master.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AttachedClusters *int32 `json:"attachedClusters,omitempty"`

	// lastRunTime is when the latest scheduled run was due. Set on a managed cluster.
	// +optional
	LastRunTime *metav1.Time `json:"lastRunTime,omitempty"`

	// lastRunGeneration is the generation that the latest scheduled run was made from. Set on a managed cluster.
	// +optional
	LastRunGeneration int64 `json:"lastRunGeneration,omitempty"`

	// nextRunTime is when the next scheduled run is due. Set on a managed cluster.
	// +optional
	NextRunTime *metav1.Time `json:"nextRunTime,omitempty"`

	// conditions: Scheduled.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Probe is a set of checkers that diagnose a cluster. Users write it on the master and attach it to Clusters by label;
// the master copies it into those clusters, where the agent runs it and writes its status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories=kubeprober
// +kubebuilder:printcolumn:name="RUNINTERVAL",type=integer,JSONPath=`.spec.policy.runInterval`,description="Minutes between two runs"
// +kubebuilder:printcolumn:name="IMAGE",type=string,JSONPath=`.spec.template.containers[0].image`,description="Image of the first container"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="SCHEDULE",type=string,priority=1,JSONPath=`.spec.policy.schedule`,description="Cron expression"
// +kubebuilder:printcolumn:name="STATE",type=string,priority=1,JSONPath=`.spec.policy.state`,description="Active or Suspended"
// +kubebuilder:printcolumn:name="CLUSTERS",type=integer,priority=1,JSONPath=`.status.attachedClusters`,description="Clusters that the probe is attached to"
// +kubebuilder:printcolumn:name="LASTRUN",type=date,priority=1,JSONPath=`.status.lastRunTime`,description="Time since the latest scheduled run"
// +kubebuilder:printcolumn:name="NEXTRUN",type=string,priority=1,JSONPath=`.status.nextRunTime`,description="When the next scheduled run is due"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a Probe must be at most 63 characters: it is part of the label that attaches it"
type Probe struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the set of checkers and the policy of when to run them.
	// +required
	Spec ProbeSpec `json:"spec"`

	// status is when the probe runs and where it is attached. Results are in the ProbeStatus of the same name.
	// +optional
	Status ProbeObservation `json:"status,omitempty"`
}

// ProbeList is a list of Probes.
//
// +kubebuilder:object:root=true
type ProbeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Probe `json:"items"`
}
