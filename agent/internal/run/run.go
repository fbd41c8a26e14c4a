// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package run says what a run is made of: the names, Jobs and environment of one, the nodes that it goes to, and what the
// state of its Jobs and pods means. It is pure: it reads and builds objects, and never talks to the API server.
package run

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Annotations of a Job: what a restarted agent needs to know of the run.
const (
	// DueAnnotation holds when the run was due, in RFC 3339.
	DueAnnotation = kubeproberv1.GroupName + "/due"
	// DeadlineAnnotation holds when the run is stopped, in RFC 3339.
	DeadlineAnnotation = kubeproberv1.GroupName + "/deadline"
	// GenerationAnnotation holds the generation of the Probe that a scheduled run was made from.
	GenerationAnnotation = kubeproberv1.GroupName + "/generation"
	// NodeAnnotation holds the node that the Job is for, when the run goes to every node.
	NodeAnnotation = kubeproberv1.GroupName + "/node"
)

// Run is one execution of a probe.
type Run struct {
	// ID is in the label of every Job and pod of the run.
	ID string
	// Namespace of the Probe and the results.
	Namespace string
	// JobNamespace is where the Jobs and pods are; empty for Namespace.
	JobNamespace string
	// ExtraConfig holds the values of the ConfigMap extra-config when the pods are in another namespace than it.
	ExtraConfig map[string]string
	// Probe is the name of the probe.
	Probe string
	// ProbeRun is the one-time diagnosis that the run belongs to; empty for a scheduled run.
	ProbeRun string
	// Owner of the Jobs: the Probe, or the ProbeRun. It is in Namespace.
	Owner metav1.OwnerReference
	// Spec of the probe.
	Spec *kubeproberv1.ProbeSpec
	// Generation of the Probe; 0 for a one-time diagnosis.
	Generation int64
	// Due is when the run was due.
	Due time.Time
	// Deadline is when the run is stopped.
	Deadline time.Time
}

func (r *Run) jobNamespace() string { return cmp.Or(r.JobNamespace, r.Namespace) }

const (
	// maxNameLength leaves room for what a pod adds to the name of its Job within the 63 characters of a host name.
	maxNameLength = 57
	hashLength    = 8
)

// ID names a run of an owner. The key tells the run from the other runs of the owner, so that whoever starts the run a second
// time is refused by the API server.
func ID(probe, ownerUID, key string) string {
	return name(probe+"-"+key, ownerUID, probe, key)
}

// JobName names the Job of a run, or its Job for one node.
func JobName(runID, node string) string {
	if node == "" {
		return runID
	}
	return name(runID, runID, node)
}

// LabelValue is a name as the value of a label: itself, or cut and made unique.
func LabelValue(text string) string {
	if len(text) <= 63 {
		return text
	}
	return name(text, text)
}

// name cuts a readable text and appends a digest of what identifies it, which keeps cut and ambiguous texts apart.
func name(readable string, identity ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(identity, "\x00")))
	if most := maxNameLength - hashLength - 1; len(readable) > most {
		readable = readable[:most]
	}
	// The name of a ProbeRun may have dots, which the name of a Job should not have.
	readable = strings.Trim(strings.ReplaceAll(readable, ".", "-"), "-")
	return readable + "-" + hex.EncodeToString(sum[:])[:hashLength]
}
