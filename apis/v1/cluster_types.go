// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterSpec is what a user decides about a managed cluster. Probes are attached by labels `probe/<name>=true`.
type ClusterSpec struct {
	// extraInfo is given to every checker of this cluster as environment variables. It lands in the ConfigMap
	// `extra-config` of the managed cluster.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	ExtraInfo []ExtraVar `json:"extraInfo,omitempty"`
}

// ExtraVar is one environment variable for the checkers of a cluster.
type ExtraVar struct {
	// name of the environment variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z][-._a-zA-Z0-9]*$`
	Name string `json:"name"`

	// value of the environment variable. It is stored in clear: a credential belongs into a Secret of the managed
	// cluster that the template of the probe refers to.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// ClusterIdentity is what a cluster name is bound to at first contact.
type ClusterIdentity struct {
	// uid is the UID of the managed cluster's kube-system namespace. An agent that presents the same name with another
	// UID is refused.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid"`
}

// ClusterProbeStatus is the summary of one probe in one cluster.
type ClusterProbeStatus struct {
	// name of the probe.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// status is the most severe verdict of its checkers; absent until the first run has ended.
	// +optional
	Status CheckerStatus `json:"status,omitempty"`

	// total counts the checkers.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total,omitempty"`

	// error counts the checkers whose verdict is ERROR.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Error int32 `json:"error,omitempty"`

	// unknown counts the checkers whose verdict is UNKNOWN: what could not be checked.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unknown int32 `json:"unknown,omitempty"`

	// message of the most severe checker.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// lastRun is when the latest run started.
	// +optional
	LastRun *metav1.Time `json:"lastRun,omitempty"`

	// lastReport is when the latest result arrived.
	// +optional
	LastReport *metav1.Time `json:"lastReport,omitempty"`

	// staleTime is when this result stops being trusted: two run intervals after the run that made it. Absent for a
	// probe that runs only once.
	// +optional
	StaleTime *metav1.Time `json:"staleTime,omitempty"`
}

// OnceProbeRecord names one of the newest one-time diagnoses of a cluster; the ProbeRun of that name has the results.
type OnceProbeRecord struct {
	// id is the name of the ProbeRun: the Unix time of its creation, in seconds.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ID string `json:"id"`

	// createTime is when the diagnosis was asked for.
	// +optional
	CreateTime *metav1.Time `json:"createTime,omitempty"`

	// finishTime is when its last probe ended; absent while it runs.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`

	// probes that the diagnosis runs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Probes []string `json:"probes,omitempty"`
}

// ClusterStatus is what the master knows of a managed cluster. Probe results come from the agent's heartbeats.
type ClusterStatus struct {
	// k8sVersion is the version of the managed cluster's API server.
	// +optional
	K8sVersion string `json:"k8sVersion,omitempty"`

	// agentVersion is the version of its probe-agent.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`

	// nodeCount is how many nodes it has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NodeCount int32 `json:"nodeCount,omitempty"`

	// probeNamespace is the namespace in which its agent runs probes.
	// +optional
	ProbeNamespace string `json:"probeNamespace,omitempty"`

	// heartbeatTime is when its agent was last heard. It is refreshed at most once a minute unless something changed.
	// +optional
	HeartbeatTime *metav1.Time `json:"heartbeatTime,omitempty"`

	// identity is what the name of this Cluster is bound to. To give the name to another cluster, delete the Cluster.
	// +optional
	Identity *ClusterIdentity `json:"identity,omitempty"`

	// attachedProbes are the probes that the managed cluster holds on behalf of this Cluster's labels.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	AttachedProbes []string `json:"attachedProbes,omitempty"`

	// checkers is `TOTAL/ERROR` over all attached probes.
	// +optional
	Checkers string `json:"checkers,omitempty"`

	// probes summarises the latest result of each probe.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Probes []ClusterProbeStatus `json:"probes,omitempty"`

	// onceProbeList names the newest five one-time diagnoses, newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	OnceProbeList []OnceProbeRecord `json:"onceProbeList,omitempty"`

	// extraStatus is free text that the agent's operator wants to see beside the cluster.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	ExtraStatus map[string]string `json:"extraStatus,omitempty"`

	// conditions: Connected, ProbesSynced and Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Cluster is one managed cluster. The master creates it when an agent makes first contact, and writes its status; users
// write labels and spec.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=kpc,categories=kubeprober
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="True: all attached probes pass. False: a checker reports ERROR. Unknown: could not be judged."
// +kubebuilder:printcolumn:name="VERSION",type=string,JSONPath=`.status.k8sVersion`,description="Kubernetes version of the managed cluster"
// +kubebuilder:printcolumn:name="NODECOUNT",type=integer,JSONPath=`.status.nodeCount`,description="Nodes of the managed cluster"
// +kubebuilder:printcolumn:name="PROBENAMESPACE",type=string,JSONPath=`.status.probeNamespace`,description="Namespace in which its probes run"
// +kubebuilder:printcolumn:name="PROBE",type=string,JSONPath=`.status.attachedProbes`,description="Attached probes"
// +kubebuilder:printcolumn:name="TOTAL/ERROR",type=string,JSONPath=`.status.checkers`,description="Checkers, and how many of them report ERROR"
// +kubebuilder:printcolumn:name="HEARTBEATTIME",type=date,JSONPath=`.status.heartbeatTime`,description="Time since the agent was last heard"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="CONNECTED",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Connected")].status`,description="Whether the master holds a live tunnel"
// +kubebuilder:printcolumn:name="SYNCED",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="ProbesSynced")].status`,description="Whether the managed cluster holds the attached probes as they are"
// +kubebuilder:printcolumn:name="AGENT",type=string,priority=1,JSONPath=`.status.agentVersion`,description="Version of the agent"
// +kubebuilder:printcolumn:name="REASON",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="Why READY is what it is"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of a Cluster must be a DNS label: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
type Cluster struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what a user decides about the cluster.
	// +optional
	Spec ClusterSpec `json:"spec,omitempty"`

	// status is what the master knows of the cluster.
	// +optional
	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cluster `json:"items"`
}
