// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// ElevatedProbes says what becomes of probes whose pods need more than Pod Security "restricted".
type ElevatedProbes string

// What can become of them.
const (
	// ElevateInNamespace runs them in a namespace of their own.
	ElevateInNamespace ElevatedProbes = "Namespace"
	// ElevateRefuse runs none of them: their result is UNKNOWN, and says why.
	ElevateRefuse ElevatedProbes = "Refuse"
)

// Elevation is how the operator wants probes to be run that need more than Pod Security "restricted".
type Elevation struct {
	Probes ElevatedProbes
	// Namespace for ElevateInNamespace; that of the agent is good as well.
	Namespace string
	// Judge tells what a run needs.
	Judge *run.Judge
}

// namespaces are those that may hold Jobs of the probes of a namespace.
func (e *Elevation) namespaces(own string) []string {
	if e.Probes == ElevateRefuse || e.Namespace == own {
		return []string{own}
	}
	return []string{own, e.Namespace}
}

// place decides in which namespace a run goes, and gives it what its pods do not find there.
func (r *Runner) place(ctx context.Context, one *run.Run) error {
	violations := r.Elevation.Judge.Violations(one)
	if violations == "" {
		return nil
	}
	if r.Elevation.Probes == ElevateRefuse {
		return &RefusedError{Gap: record.Gap{Reason: run.ReasonElevationRefused, Message: fmt.Sprintf(
			"the pods need more than Pod Security restricted: %s; change the template, or start the agent with --elevated-probes=%s",
			violations, ElevateInNamespace)}}
	}
	if r.Elevation.Namespace == one.Namespace {
		return nil
	}
	extra := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: one.Namespace, Name: kubeproberv1.ExtraConfigName}, extra)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading ConfigMap %s/%s: %w", one.Namespace, kubeproberv1.ExtraConfigName, err)
	}
	one.JobNamespace, one.ExtraConfig = r.Elevation.Namespace, extra.Data
	return nil
}
