// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// EntryOf finds a probe among those of a one-time diagnosis; nil when it is not there.
func EntryOf(status *kubeproberv1.ProbeRunStatus, probe string) *kubeproberv1.RunProbeStatus {
	i := slices.IndexFunc(status.Probes, func(p kubeproberv1.RunProbeStatus) bool { return p.Name == probe })
	if i < 0 {
		return nil
	}
	return &status.Probes[i]
}

// reportOnce is Report for a one-time diagnosis. It has no earlier runs, so a first ERROR is published as such.
func (s *Store) reportOnce(ctx context.Context, ref Ref, node string, reported []report.Checker, now time.Time) error {
	return s.do(ctx, ref, s.loadRun(ref), func(to target) error {
		status := &to.Object.(*kubeproberv1.ProbeRun).Status
		entry := EntryOf(status, ref.Probe)
		if entry == nil || entry.Phase.Finished() || entry.RunID != "" && entry.RunID != ref.RunID {
			return ErrRunOver
		}
		merged := merge(entry.Checkers, ref.RunID, node, reported, 1, now)
		var others [][]kubeproberv1.CheckerResult
		for i := range status.Probes {
			if status.Probes[i].Name != ref.Probe {
				others = append(others, status.Probes[i].Checkers)
			}
		}
		kept, omitted, err := fit(merged, ref.RunID, node, others...)
		if err != nil {
			return err
		}
		entry.Omitted += omitted
		entry.Checkers, entry.RunID = kept, ref.RunID
		entry.Status, _ = summarize(kept)
		return nil
	})
}

// Begin records which probes a one-time diagnosis runs, and which of them cannot be run. It holds only for one that has not
// begun.
func (s *Store) Begin(ctx context.Context, run *kubeproberv1.ProbeRun, entries []kubeproberv1.RunProbeStatus, now time.Time) error {
	return s.UpdateRun(ctx, run, func(status *kubeproberv1.ProbeRunStatus) {
		if status.Phase != "" {
			return
		}
		status.Phase, status.Probes = kubeproberv1.RunPending, entries
		settle(status, run.Generation, now)
	})
}

// Started records that a probe of a one-time diagnosis runs.
func (s *Store) Started(ctx context.Context, run *kubeproberv1.ProbeRun, ref Ref, now time.Time) error {
	return s.UpdateRun(ctx, run, func(status *kubeproberv1.ProbeRunStatus) {
		entry := EntryOf(status, ref.Probe)
		if entry == nil || entry.Phase != kubeproberv1.RunPending {
			return
		}
		at := metav1.NewTime(now).Rfc3339Copy()
		entry.Phase, entry.RunID, entry.StartTime, entry.Message = kubeproberv1.RunRunning, ref.RunID, &at, ""
		if status.StartTime == nil {
			status.StartTime = &at
		}
		settle(status, run.Generation, now)
	})
}

// FinishOnce records the end of one probe of a one-time diagnosis, and of the diagnosis with its last probe.
func (s *Store) FinishOnce(ctx context.Context, run *kubeproberv1.ProbeRun, ref Ref, ending *Ending) error {
	return s.UpdateRun(ctx, run, func(status *kubeproberv1.ProbeRunStatus) {
		entry := EntryOf(status, ref.Probe)
		if entry == nil || entry.Phase.Finished() {
			return
		}
		// It has no earlier runs, so a first ERROR is published as such.
		end := closeRun(closing{results: entry.Checkers, omitted: entry.Omitted, probe: ref.Probe, runID: ref.RunID, threshold: 1}, ending)
		others := 0
		for i := range status.Probes {
			others += len(status.Probes[i].Checkers)
		}
		if others > kubeproberv1.MaxCheckers {
			shorten(end.results)
		}
		finish := metav1.NewTime(ending.End).Rfc3339Copy()
		entry.RunID, entry.Checkers, entry.Omitted, entry.FinishTime = ref.RunID, end.results, end.omitted, &finish
		entry.Message = end.shown(end.message)
		entry.Status, _ = summarize(end.results)
		entry.Phase = phaseOf(entry, end.complete)
		settle(status, run.Generation, ending.End)
	})
}

// UpdateRun changes the status of a ProbeRun together with whatever else writes to it.
func (s *Store) UpdateRun(ctx context.Context, run *kubeproberv1.ProbeRun, change func(*kubeproberv1.ProbeRunStatus)) error {
	// Reports queue by probe as well; those of several probes of one run meet in the API server, and retry on conflict.
	ref := Ref{Namespace: run.Namespace, ProbeRun: run.Name, OwnerUID: run.UID}
	return s.do(ctx, ref, s.loadRun(ref), func(to target) error {
		change(&to.Object.(*kubeproberv1.ProbeRun).Status)
		return nil
	})
}

func phaseOf(entry *kubeproberv1.RunProbeStatus, complete bool) kubeproberv1.RunPhase {
	unknown := func(r kubeproberv1.CheckerResult) bool { return r.Status == kubeproberv1.CheckerUnknown }
	switch {
	case entry.Status == kubeproberv1.CheckerError:
		return kubeproberv1.RunFailed
	case !complete || slices.ContainsFunc(entry.Checkers, unknown):
		return kubeproberv1.RunIncomplete
	default:
		return kubeproberv1.RunSucceeded
	}
}

// settle computes the phase of a diagnosis from those of its probes.
func settle(status *kubeproberv1.ProbeRunStatus, generation int64, now time.Time) {
	counts := map[kubeproberv1.RunPhase]int{}
	for i := range status.Probes {
		counts[status.Probes[i].Phase]++
	}
	open := counts[kubeproberv1.RunPending] + counts[kubeproberv1.RunRunning]
	switch {
	case open == len(status.Probes) && counts[kubeproberv1.RunRunning] == 0 && open > 0:
		status.Phase = kubeproberv1.RunPending
	case open > 0:
		status.Phase = kubeproberv1.RunRunning
	case counts[kubeproberv1.RunFailed] > 0:
		status.Phase = kubeproberv1.RunFailed
	case counts[kubeproberv1.RunIncomplete] > 0 || len(status.Probes) == 0:
		status.Phase = kubeproberv1.RunIncomplete
	default:
		status.Phase = kubeproberv1.RunSucceeded
	}
	finished := metav1.Condition{
		Type: kubeproberv1.ProbeRunFinishedCondition, Status: metav1.ConditionFalse, Reason: kubeproberv1.ProbeRunInProgressReason,
		Message: fmt.Sprintf("%d of %d probes have ended", len(status.Probes)-open, len(status.Probes)), ObservedGeneration: generation,
	}
	if status.Phase.Finished() {
		finished.Status, finished.Reason = metav1.ConditionTrue, kubeproberv1.ProbeRunDoneReason
		if status.FinishTime == nil {
			at := metav1.NewTime(now).Rfc3339Copy()
			status.FinishTime = &at
		}
	}
	meta.SetStatusCondition(&status.Conditions, finished)
	accept(status, generation)
}

func accept(status *kubeproberv1.ProbeRunStatus, generation int64) {
	accepted := metav1.Condition{
		Type: kubeproberv1.ProbeRunAcceptedCondition, Status: metav1.ConditionTrue, Reason: kubeproberv1.ProbeRunHandedOverReason,
		Message: "the agent has taken the run", ObservedGeneration: generation,
	}
	if len(status.Probes) == 0 {
		accepted.Status, accepted.Reason = metav1.ConditionFalse, kubeproberv1.ProbeRunNoProbesReason
		accepted.Message = "the run names no probes, and the namespace holds no Probe"
	}
	meta.SetStatusCondition(&status.Conditions, accepted)
}

func (s *Store) loadRun(ref Ref) loadFunc {
	name := types.NamespacedName{Namespace: ref.Namespace, Name: ref.ProbeRun}
	return func(ctx context.Context, reader client.Reader) (target, error) {
		run := &kubeproberv1.ProbeRun{}
		if err := reader.Get(ctx, name, run); apierrors.IsNotFound(err) {
			return target{}, ErrRunOver
		} else if err != nil {
			return target{}, fmt.Errorf("reading ProbeRun %s: %w", name, err)
		}
		if run.UID != ref.OwnerUID || run.DeletionTimestamp != nil {
			return target{}, ErrRunOver
		}
		return target{run, 1}, nil
	}
}
