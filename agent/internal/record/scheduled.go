// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Change tells how the published status of a probe has moved; both are equal when it has not.
type Change struct {
	Before, After kubeproberv1.CheckerStatus
	Message       string
	// Run is the entry in the history; nil when the end of the run was recorded before.
	Run *kubeproberv1.RunRecord
}

// Moved tells whether there is anything to tell.
func (c Change) Moved() bool { return c.Before != c.After }

// Recorded tells whether the end of a run is in a history. One that is not there may have left it.
func Recorded(status *kubeproberv1.ProbeOutcome, runID string) bool { return place(status, runID) >= 0 }

// Leaving tells whether the end of a run is in the older half of a history, and will leave it.
func Leaving(status *kubeproberv1.ProbeOutcome, runID string) bool {
	return place(status, runID) >= kubeproberv1.MaxHistory/2
}

// place is how many runs were recorded after this one; -1 when it is not in the history.
func place(status *kubeproberv1.ProbeOutcome, runID string) int {
	return slices.IndexFunc(status.History, func(r kubeproberv1.RunRecord) bool { return r.RunID == runID })
}

// superseded tells whether a run that is not in the history began before the latest that is. A recorded time that has not come
// yet proves nothing: the clock was set back.
func superseded(status *kubeproberv1.ProbeOutcome, ending *Ending) bool {
	start := metav1.NewTime(ending.Start).Rfc3339Copy()
	return status.LastRun != nil && start.Before(status.LastRun) && !status.LastRun.After(ending.End)
}

// Report merges the results that a run reports. A nil error means that they are stored. The error is ErrRunOver, ErrTooMany or
// ErrTooLarge when another attempt cannot help.
func (s *Store) Report(ctx context.Context, ref Ref, node string, reported []report.Checker, now time.Time) error {
	if ref.ProbeRun != "" {
		return s.reportOnce(ctx, ref, node, reported, now)
	}
	return s.do(ctx, ref, s.loadStatus(ref), func(to target) error {
		status := &to.Object.(*kubeproberv1.ProbeStatus).Status
		if Recorded(status, ref.RunID) {
			return ErrRunOver
		}
		merged := merge(status.Checkers, ref.RunID, node, reported, to.threshold, now)
		kept, omitted, err := fit(merged, ref.RunID, node)
		if err != nil {
			return err
		}
		at := metav1.NewTime(now).Rfc3339Copy()
		status.Omitted = omittedOf(status.Checkers, ref.RunID, status.Omitted) + omitted
		status.Checkers, status.LastReport = kept, &at
		// Before its first run has ended nothing is published: a part of the checkers may make a bad probe look good.
		if status.Status != "" {
			status.Status, status.Message = summarize(kept)
		}
		return nil
	})
}

// omittedOf is how many results of a run are not among those that are kept: none before its first report. A run that has left
// some out has kept others.
func omittedOf(results []kubeproberv1.CheckerResult, runID string, omitted int32) int32 {
	if !slices.ContainsFunc(results, func(r kubeproberv1.CheckerResult) bool { return r.RunID == runID }) {
		return 0
	}
	return omitted
}

// Prepare makes the object that will show the results of a scheduled run, so that a run whose results somebody removes can be
// told from one that has none.
func (s *Store) Prepare(ctx context.Context, ref Ref) error {
	return s.do(ctx, ref, s.loadStatus(ref), func(target) error { return nil })
}

// Finish records the end of a scheduled run, once however often it is called. The error is ErrSuperseded, and nothing is
// changed, when a later run is recorded already.
func (s *Store) Finish(ctx context.Context, ref Ref, ending *Ending) (Change, error) {
	var change Change
	err := s.do(ctx, ref, s.loadStatus(ref), func(to target) error {
		status := &to.Object.(*kubeproberv1.ProbeStatus).Status
		change = Change{Before: status.Status, After: status.Status}
		switch {
		case Recorded(status, ref.RunID):
			return nil
		case superseded(status, ending):
			return ErrSuperseded
		}
		if to.GetCreationTimestamp().After(ending.Start) {
			ending.loseReports()
		}
		finishScheduled(status, ref, to.threshold, ending)
		change.After, change.Message, change.Run = status.Status, status.Message, status.History[0].DeepCopy()
		return nil
	})
	return change, err
}

func finishScheduled(status *kubeproberv1.ProbeOutcome, ref Ref, threshold int32, ending *Ending) {
	end := closeRun(closing{
		results: status.Checkers, omitted: omittedOf(status.Checkers, ref.RunID, status.Omitted),
		probe: ref.Probe, runID: ref.RunID, threshold: threshold,
	}, ending)
	start := metav1.NewTime(ending.Start).Rfc3339Copy()
	duration := &metav1.Duration{Duration: max(0, ending.End.Sub(ending.Start)).Round(time.Millisecond)}
	status.Checkers, status.Omitted = end.results, end.omitted
	status.Status, status.Message = summarize(end.results)
	if status.Message == "" {
		status.Message = end.message
	}
	status.Message = end.shown(status.Message)
	status.LastRun, status.LastRunID, status.Duration, status.StaleTime = &start, ref.RunID, duration, staleTime(ending.StaleTime)
	status.History = slices.Insert(status.History, 0, kubeproberv1.RunRecord{
		RunID: ref.RunID, Start: start, Duration: duration, Status: end.worst,
		ErrorCount: end.errors, Total: end.total, Reason: end.reason, Message: end.remembered(),
	})
	status.History = status.History[:min(len(status.History), kubeproberv1.MaxHistory)]
}

// Restate changes when the shown outcome stops being trusted, after a change of the policy; a zero time means never. It holds
// only while the run with that ID is the latest recorded one.
func (s *Store) Restate(ctx context.Context, ref Ref, stale time.Time) error {
	return s.do(ctx, ref, s.loadStatus(ref), func(to target) error {
		status := &to.Object.(*kubeproberv1.ProbeStatus).Status
		if status.LastRunID == ref.RunID {
			status.StaleTime = staleTime(stale)
		}
		return nil
	})
}

func staleTime(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	stale := metav1.NewTime(at).Rfc3339Copy()
	return &stale
}

// loadStatus reads the ProbeStatus of a run, and makes it when there is none.
func (s *Store) loadStatus(ref Ref) loadFunc {
	name := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Probe}
	return func(ctx context.Context, reader client.Reader) (target, error) {
		probe := &kubeproberv1.Probe{}
		if err := reader.Get(ctx, name, probe); apierrors.IsNotFound(err) {
			return target{}, ErrRunOver
		} else if err != nil {
			return target{}, fmt.Errorf("reading Probe %s: %w", name, err)
		}
		if probe.UID != ref.OwnerUID || probe.DeletionTimestamp != nil {
			return target{}, ErrRunOver
		}
		threshold := probe.Spec.Policy.ErrorsToFail()
		status := &kubeproberv1.ProbeStatus{}
		err := reader.Get(ctx, name, status)
		if apierrors.IsNotFound(err) {
			status, err = s.createStatus(ctx, probe)
			return target{status, threshold}, err
		}
		if err != nil {
			return target{}, fmt.Errorf("reading ProbeStatus %s: %w", name, err)
		}
		if !metav1.IsControlledBy(status, probe) {
			// It belongs to a Probe of the same name that is gone, and goes as soon as the garbage collector sees it.
			return target{}, fmt.Errorf("ProbeStatus %s is of an earlier Probe of that name, and being removed", name)
		}
		return target{status, threshold}, nil
	}
}

func (s *Store) createStatus(ctx context.Context, probe *kubeproberv1.Probe) (*kubeproberv1.ProbeStatus, error) {
	status := &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{
		Namespace: probe.Namespace, Name: probe.Name,
		OwnerReferences: []metav1.OwnerReference{OwnerReference(probe, "Probe")},
	}}
	err := s.client.Create(ctx, status)
	if apierrors.IsAlreadyExists(err) {
		// The cache does not have it yet: as a conflict, so that the next attempt reads live.
		return nil, apierrors.NewConflict(kubeproberv1.Resource("probestatuses"), probe.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("creating ProbeStatus %s/%s: %w", probe.Namespace, probe.Name, err)
	}
	return status, nil
}

// OwnerReference makes an object the controller of what carries the reference. It does not block the owner's deletion, which would need
// a permission of its own where the API server enforces that.
func OwnerReference(owner client.Object, kind string) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: kubeproberv1.GroupVersion.String(), Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &controller,
	}
}
