// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heartbeat is the contract of what an agent tells its master: the message, where it is sent and who it claims
// to be from. It knows nothing of how either end works.
package heartbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// Path of the master's hub that takes heartbeats by POST.
	Path = "/heartbeat"
	// MaxBytes bounds the body of a heartbeat.
	MaxBytes = 1 << 20
	// Interval between two heartbeats when nothing changes.
	Interval = 30 * time.Second
	// LateAfter is how long an agent may be silent before its cluster is no longer judged: three intervals.
	LateAfter = 3 * Interval
	// MaxRuns bounds the one-time diagnoses that a heartbeat tells of.
	MaxRuns = 64
	// MaxProbes bounds the probes that a heartbeat tells of.
	MaxProbes = 256
	// MaxExtraStatus bounds the entries of ExtraStatus.
	MaxExtraStatus = 64
)

// Headers by which an agent and a tunnel say who they are.
const (
	// ClusterHeader carries the name of the cluster, a DNS label.
	ClusterHeader = "X-Cluster-Name"
	// SecretHeader carries the shared secret.
	SecretHeader = "Secret-Key"
	// ClusterUIDHeader carries the UID of the cluster's kube-system namespace.
	ClusterUIDHeader = "X-Cluster-UID"
)

// Heartbeat is the whole state of one managed cluster, so that a lost one costs nothing.
type Heartbeat struct {
	// K8sVersion is the version of the cluster's API server.
	K8sVersion string `json:"k8sVersion,omitempty"`
	// AgentVersion is the version of the agent.
	AgentVersion string `json:"agentVersion,omitempty"`
	// NodeCount is how many nodes the cluster has.
	NodeCount int32 `json:"nodeCount"`
	// ProbeNamespace is the namespace in which the agent runs probes.
	ProbeNamespace string `json:"probeNamespace"`
	// ExtraStatus is free text that the agent's operator wants to see beside the cluster.
	ExtraStatus map[string]string `json:"extraStatus,omitempty"`
	// Probes summarises the latest result of every probe.
	Probes []kubeproberv1.ClusterProbeStatus `json:"probes,omitempty"`
	// Runs tells how far the one-time diagnoses are that the master handed over. Their results are read through the tunnel.
	Runs []Run `json:"runs,omitempty"`
}

// Run tells that a one-time diagnosis exists and whether it has moved.
type Run struct {
	// ID is the name of the ProbeRun.
	ID string `json:"id"`
	// Phase of the ProbeRun.
	Phase kubeproberv1.RunPhase `json:"phase,omitempty"`
	// ResourceVersion of the ProbeRun: while it stays, nothing of the run has changed.
	ResourceVersion string `json:"resourceVersion"`
	// FinishTime of the ProbeRun.
	FinishTime *metav1.Time `json:"finishTime,omitempty"`
}

// ErrTooLarge is returned for a body of more than MaxBytes.
var ErrTooLarge = fmt.Errorf("heartbeat is larger than %d bytes", MaxBytes)

// Decode reads and validates one heartbeat. The error tells the agent what is wrong with it.
func Decode(body io.Reader) (*Heartbeat, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading heartbeat: %w", err)
	}
	if len(data) > MaxBytes {
		return nil, ErrTooLarge
	}
	beat := &Heartbeat{}
	if err := json.Unmarshal(data, beat); err != nil {
		return nil, fmt.Errorf("parsing heartbeat: %w", err)
	}
	if err := beat.validate(); err != nil {
		return nil, fmt.Errorf("validating heartbeat: %w", err)
	}
	return beat, nil
}

func (h *Heartbeat) validate() error {
	switch {
	case h.ProbeNamespace == "":
		return errors.New("probeNamespace is empty")
	case h.NodeCount < 0:
		return fmt.Errorf("nodeCount %d is negative", h.NodeCount)
	case len(h.Probes) > MaxProbes:
		return fmt.Errorf("%d probes are more than %d", len(h.Probes), MaxProbes)
	case len(h.Runs) > MaxRuns:
		return fmt.Errorf("%d runs are more than %d", len(h.Runs), MaxRuns)
	case len(h.ExtraStatus) > MaxExtraStatus:
		return fmt.Errorf("%d entries of extraStatus are more than %d", len(h.ExtraStatus), MaxExtraStatus)
	}
	seen := make(map[string]bool, len(h.Probes))
	for i := range h.Probes {
		if err := validateProbe(&h.Probes[i], seen); err != nil {
			return fmt.Errorf("probes[%d]: %w", i, err)
		}
	}
	for i, run := range h.Runs {
		if run.ID == "" {
			return fmt.Errorf("runs[%d]: id is empty", i)
		}
	}
	return nil
}

func validateProbe(p *kubeproberv1.ClusterProbeStatus, seen map[string]bool) error {
	switch {
	case p.Name == "" || len(p.Name) > kubeproberv1.MaxCheckerNameLength:
		return fmt.Errorf("name must have 1 to %d characters", kubeproberv1.MaxCheckerNameLength)
	case seen[p.Name]:
		return fmt.Errorf("probe %q stands twice", p.Name)
	case p.Status != "" && p.Status.Severity() < 0:
		return fmt.Errorf("status %q of probe %q is none of PASS, INFO, UNKNOWN, WARN, ERROR", p.Status, p.Name)
	case p.Total < 0 || p.Error < 0 || p.Unknown < 0:
		return fmt.Errorf("counts of probe %q are negative", p.Name)
	case len([]rune(p.Message)) > kubeproberv1.MaxMessageLength:
		return fmt.Errorf("message of probe %q is longer than %d characters", p.Name, kubeproberv1.MaxMessageLength)
	}
	seen[p.Name] = true
	return nil
}
