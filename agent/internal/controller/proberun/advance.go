// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// advance takes one probe of a diagnosis one step further, and says after how long to look at it again.
func (r *Reconciler) advance(ctx context.Context, probeRun *kubeproberv1.ProbeRun, entry *kubeproberv1.RunProbeStatus, groups []runner.Group) (time.Duration, error) {
	ref := record.Ref{
		Namespace: probeRun.Namespace, Probe: entry.Name, ProbeRun: probeRun.Name, OwnerUID: probeRun.UID,
		// The same probe of the same ProbeRun has one ID, whoever computes it.
		RunID: run.ID(entry.Name, string(probeRun.UID), probeRun.Name),
	}
	at := slices.IndexFunc(groups, func(g runner.Group) bool { return g.RunID == ref.RunID })
	switch {
	case entry.Phase.Finished() && at >= 0:
		return 0, r.Runner.Stop(ctx, groups[at])
	case entry.Phase.Finished():
		return 0, nil
	case entry.Phase == kubeproberv1.RunPending:
		return 0, r.start(ctx, probeRun, ref)
	case at >= 0:
		return r.settle(ctx, probeRun, entry, ref, groups[at])
	}
	exists, err := r.Runner.Exists(ctx, probeRun.Namespace, ref.RunID)
	if err != nil || exists {
		// The cache is behind; the Job wakes us when it comes.
		return 0, err
	}
	gap := record.Gap{Reason: run.ReasonJobDeleted, Message: "the Job was removed before it ended"}
	return 0, r.refuse(ctx, probeRun, ref, gap)
}

// start makes the Jobs of one probe. The status is written when they are all there, so a start that was cut short is made again.
func (r *Reconciler) start(ctx context.Context, probeRun *kubeproberv1.ProbeRun, ref record.Ref) error {
	spec, err := r.specOf(ctx, probeRun, ref.Probe)
	var refused *runner.RefusedError
	if errors.As(err, &refused) {
		return r.refuse(ctx, probeRun, ref, refused.Gap)
	}
	if err != nil {
		return err
	}
	now := r.Clock.Now()
	one := &run.Run{
		ID: ref.RunID, Namespace: ref.Namespace, Probe: ref.Probe, ProbeRun: ref.ProbeRun,
		Owner: record.OwnerReference(probeRun, "ProbeRun"), Spec: spec, Due: now, Deadline: now.Add(spec.Policy.Timeout()),
	}
	log.FromContext(ctx).Info("Starting run", "run", one.ID)
	err = r.Runner.Start(ctx, one)
	if errors.As(err, &refused) {
		return r.refuse(ctx, probeRun, ref, refused.Gap)
	}
	if err != nil {
		return err
	}
	return r.Store.Started(ctx, probeRun, ref, now)
}

// specOf is the spec that the ProbeRun brings, or that of the Probe of the namespace.
func (r *Reconciler) specOf(ctx context.Context, probeRun *kubeproberv1.ProbeRun, name string) (*kubeproberv1.ProbeSpec, error) {
	at := slices.IndexFunc(probeRun.Spec.Probes, func(p kubeproberv1.RunProbe) bool { return p.Name == name })
	if at >= 0 && probeRun.Spec.Probes[at].Spec != nil {
		return probeRun.Spec.Probes[at].Spec, nil
	}
	probe := &kubeproberv1.Probe{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: probeRun.Namespace, Name: name}, probe)
	if apierrors.IsNotFound(err) {
		return nil, &runner.RefusedError{Gap: record.Gap{
			Reason: run.ReasonProbeNotFound, Message: fmt.Sprintf("namespace %s has no Probe %q", probeRun.Namespace, name),
		}}
	}
	if err != nil {
		return nil, fmt.Errorf("reading Probe %s: %w", name, err)
	}
	return &probe.Spec, nil
}

func (r *Reconciler) settle(ctx context.Context, probeRun *kubeproberv1.ProbeRun, entry *kubeproberv1.RunProbeStatus, ref record.Ref, g runner.Group) (time.Duration, error) {
	inspection, err := r.Runner.Inspect(ctx, g, record.Heard(entry.Checkers, ref.RunID))
	if err != nil || inspection.Ending == nil {
		return inspection.Recheck, err
	}
	if err := r.Store.FinishOnce(ctx, probeRun, ref, inspection.Ending); err != nil {
		return 0, err
	}
	log.FromContext(ctx).Info("Recorded end of run", "run", ref.RunID, "gaps", len(inspection.Ending.Gaps))
	return 0, r.Runner.Stop(ctx, g)
}

// refuse ends the run of a probe that has no Jobs.
func (r *Reconciler) refuse(ctx context.Context, probeRun *kubeproberv1.ProbeRun, ref record.Ref, gap record.Gap) error {
	now := r.Clock.Now()
	return r.Store.FinishOnce(ctx, probeRun, ref, &record.Ending{Start: now, End: now, Nodes: []string{""}, Gaps: []record.Gap{gap}})
}
