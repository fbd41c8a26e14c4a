// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1 holds the Kubernetes types of Kubeprober: Cluster, Probe, ProbeStatus and ProbeRun. It says what the
// objects mean and what a valid one looks like; it knows nothing of how a run is made, of the tunnel or of storage.
//
// +kubebuilder:object:generate=true
// +groupName=kubeprober.erda.cloud
package v1
