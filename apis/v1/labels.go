// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import "strings"

const (
	// AttachLabelPrefix precedes the name of a Probe in the label key that attaches it to a Cluster.
	AttachLabelPrefix = "probe/"
	// AttachLabelValue is the value that an attaching label must have; a label with any other value attaches nothing.
	AttachLabelValue = "true"

	// ManagedByLabel is on every object that the master writes into a managed cluster. The master changes and deletes
	// only objects that carry it, so that probes made in the managed cluster itself are left alone.
	ManagedByLabel = GroupName + "/managed-by"
	// ManagedByMaster is the value of ManagedByLabel for objects of the master.
	ManagedByMaster = "probe-master"

	// ProbeLabel is on every Job and Pod of a run and names its Probe.
	ProbeLabel = GroupName + "/probe"
	// RunIDLabel is on every Job and Pod of a run and holds the ID of the run.
	RunIDLabel = GroupName + "/run-id"
	// ProbeRunLabel is on the Jobs and Pods of a one-time diagnosis and names its ProbeRun.
	ProbeRunLabel = GroupName + "/probe-run"
	// ClusterLabel is on the ProbeRuns of the master and names their Cluster.
	ClusterLabel = GroupName + "/cluster"

	// ClusterFinalizer keeps a Cluster until what the master wrote into the managed cluster is removed.
	ClusterFinalizer = GroupName + "/managed-cluster"
	// AttachedFinalizer keeps a Probe of the master while a managed cluster still holds a copy.
	AttachedFinalizer = GroupName + "/attached"
	// ProbeRunFinalizer keeps a ProbeRun of the master until its copy in the managed cluster is removed.
	ProbeRunFinalizer = GroupName + "/managed-cluster"

	// ExtraConfigName is the ConfigMap of a managed cluster that holds the extraInfo of its Cluster. Every container of a
	// checker gets its keys as environment variables.
	ExtraConfigName = "extra-config"
)

// AttachLabel is the label key that attaches the named Probe to a Cluster.
func AttachLabel(probe string) string { return AttachLabelPrefix + probe }

// AttachedProbe tells which Probe a label attaches; ok is false for a label that attaches none.
func AttachedProbe(key, value string) (probe string, ok bool) {
	probe, found := strings.CutPrefix(key, AttachLabelPrefix)
	if !found || probe == "" || value != AttachLabelValue {
		return "", false
	}
	return probe, true
}
