// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	"github.com/kubeprober/kubeprober/agent/internal/schedule"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// observe reads what is known of the past. A Job counts as much as the status: the agent may have stopped between making the
// one and writing the other.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	status := &kubeproberv1.ProbeStatus{}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(s.probe), status); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading ProbeStatus of Probe %s: %w", klog.KObj(s.probe), err)
	}
	s.outcome = &status.Status
	groups, err := r.Runner.Runs(ctx, s.probe.UID)
	if err != nil {
		return err
	}
	s.groups = groups
	s.history = schedule.History{
		Created: s.probe.CreationTimestamp.Time, Generation: s.probe.Generation, LastGeneration: s.probe.Status.LastRunGeneration,
	}
	if s.probe.Status.LastRunTime != nil {
		s.history.LastRun = s.probe.Status.LastRunTime.Time
	}
	now := r.Clock.Now()
	for _, g := range groups {
		meta := g.Meta()
		// A Job of the future is from before the clock was set back, and would be the last run for ever.
		if meta.Due.After(s.history.LastRun) && !schedule.InFuture(meta.Due, now) {
			s.history.LastRun = meta.Due
		}
		s.history.LastGeneration = max(s.history.LastGeneration, meta.Generation)
	}
	return nil
}

// settleRuns records the runs that have ended, and stops what is left of those.
func (r *Reconciler) settleRuns(ctx context.Context, s *scope) error {
	for i := range s.groups {
		g := &s.groups[i]
		ended, err := r.settleRun(ctx, s, g)
		if err != nil {
			return err
		}
		if !ended {
			s.active = g
			continue
		}
		s.recorded = append(s.recorded, *g)
		if err := r.Runner.Stop(ctx, *g); err != nil {
			return err
		}
	}
	return nil
}

// settleRun records a run if it has ended, and tells whether it has. Its Jobs may outlive its entry in the history by far, so
// they are marked before that goes.
func (r *Reconciler) settleRun(ctx context.Context, s *scope, g *runner.Group) (ended bool, err error) {
	switch {
	case g.Recorded():
		return true, nil
	case record.Leaving(s.outcome, g.RunID):
		return true, r.Runner.MarkRecorded(ctx, *g)
	case record.Recorded(s.outcome, g.RunID):
		return true, nil
	case s.cutShort(g, r.Clock.Now()):
		// Its start is completed first: else the nodes that it has not gone to yet would be said to have lost their Jobs. The
		// status that this writes wakes nobody.
		s.wakeWithin(completedWithin)
		return false, nil
	}
	inspection, err := r.Runner.Inspect(ctx, *g, record.Heard(s.outcome.Checkers, g.RunID))
	if err != nil {
		return false, err
	}
	if inspection.Ending == nil {
		s.wakeWithin(inspection.Recheck)
		return false, nil
	}
	err = r.finish(ctx, s, g.RunID, g.Meta().Due, inspection.Ending)
	if errors.Is(err, record.ErrSuperseded) {
		log.FromContext(ctx).Info("Leaving out run that began before the latest recorded one", "run", g.RunID)
		err = r.Runner.MarkRecorded(ctx, *g)
	}
	return true, err
}

// settleVanished records the latest run when somebody has removed its Jobs before it ended.
func (r *Reconciler) settleVanished(ctx context.Context, s *scope) error {
	last := s.probe.Status.LastRunTime
	if last == nil || s.active != nil {
		return nil
	}
	ids := s.lastRunIDs()
	for _, id := range ids {
		known := slices.ContainsFunc(s.groups, func(g runner.Group) bool { return g.RunID == id })
		if known || record.Recorded(s.outcome, id) {
			return nil
		}
	}
	for _, id := range ids {
		exists, err := r.Runner.Exists(ctx, s.probe.Namespace, id)
		if err != nil {
			return err
		}
		if exists {
			// The cache is behind; the Job wakes us when it comes.
			s.active = &runner.Group{RunID: id}
			return nil
		}
	}
	log.FromContext(ctx).Info("Recording run whose Job was removed", "run", ids[0])
	gap := record.Gap{Reason: run.ReasonJobDeleted, Message: "the Job was removed before it ended"}
	ending := &record.Ending{Start: last.Time, End: r.Clock.Now(), Nodes: []string{""}, Gaps: []record.Gap{gap}}
	if err := r.finish(ctx, s, ids[0], last.Time, ending); !errors.Is(err, record.ErrSuperseded) {
		return err
	}
	// What is shown is newer, and stays.
	return nil
}

// lastRunIDs are the IDs that the latest run may have, the likely one first: the policy may have changed since it was made.
func (s *scope) lastRunIDs() []string {
	name, uid := s.probe.Name, string(s.probe.UID)
	ids := []string{
		run.ID(name, uid, schedule.KeyOfTime(s.probe.Status.LastRunTime.Time)),
		run.ID(name, uid, schedule.KeyOfGeneration(s.probe.Status.LastRunGeneration)),
	}
	if policy := &s.probe.Spec.Policy; policy.Schedule == nil && policy.Interval() == 0 {
		slices.Reverse(ids)
	}
	return ids
}

// restate lets the time at which the results stop being trusted follow a changed policy. That of a run under way follows at its
// end.
func (r *Reconciler) restate(ctx context.Context, s *scope) error {
	if s.active != nil || s.ended || s.probe.Status.LastRunTime == nil || !slices.Contains(s.lastRunIDs(), s.outcome.LastRunID) {
		return nil
	}
	stale := schedule.StaleTime(&s.probe.Spec.Policy, s.probe.Status.LastRunTime.Time)
	if timeOrNil(stale).Equal(s.outcome.StaleTime) {
		return nil
	}
	log.FromContext(ctx).Info("Restating how long results are trusted", "until", stale)
	ref := record.Ref{Namespace: s.probe.Namespace, Probe: s.probe.Name, OwnerUID: s.probe.UID, RunID: s.outcome.LastRunID}
	if err := r.Store.Restate(ctx, ref, stale); !errors.Is(err, record.ErrRunOver) {
		return err
	}
	return nil
}

func (r *Reconciler) finish(ctx context.Context, s *scope, runID string, due time.Time, ending *record.Ending) error {
	ending.StaleTime = schedule.StaleTime(&s.probe.Spec.Policy, due)
	ref := record.Ref{Namespace: s.probe.Namespace, Probe: s.probe.Name, OwnerUID: s.probe.UID, RunID: runID}
	log.FromContext(ctx).Info("Recording end of run", "run", runID, "gaps", len(ending.Gaps))
	change, err := r.Store.Finish(ctx, ref, ending)
	if errors.Is(err, record.ErrRunOver) {
		// The Probe went while we looked; so will everything else of it.
		return nil
	}
	if err != nil {
		return err
	}
	s.ended = true
	if change.Run != nil {
		r.Metrics.RunEnded(s.probe.Name, change.Run)
	}
	if change.Moved() {
		r.announce(s.probe, change)
	}
	return nil
}

// announce writes an Event for a status that has moved; one that stays as it was makes none.
func (r *Reconciler) announce(probe *kubeproberv1.Probe, change record.Change) {
	kind := corev1.EventTypeNormal
	if change.After.Severity() >= kubeproberv1.CheckerUnknown.Severity() {
		kind = corev1.EventTypeWarning
	}
	before := string(change.Before)
	if before == "" {
		before = "no result"
	}
	note := fmt.Sprintf("Status of probe %s moved from %s to %s", probe.Name, before, change.After)
	if change.Message != "" {
		note += ": " + change.Message
	}
	r.Recorder.Eventf(probe, nil, kind, "StatusChanged", "RecordRun", "%s", bounded(note))
}

// bounded cuts the note of an Event: the API server refuses one of 1 kB and more.
func bounded(note string) string {
	const most = 1000
	if len(note) > most {
		note = string([]rune(note)[:most/4]) + "…"
	}
	return note
}

// decide asks the schedule.
func (r *Reconciler) decide(_ context.Context, s *scope) error {
	now := r.Clock.Now()
	policy := &s.probe.Spec.Policy
	offset := schedule.Offset(r.ClusterUID, s.probe.Namespace, s.probe.Name, policy.Spread())
	// A policy that cannot be followed is no error of ours: the condition tells of it, and a change of the Probe wakes us.
	s.plan, s.invalid = schedule.Decide(policy, s.history, offset, now)
	if s.invalid == nil && !s.plan.Next.IsZero() {
		s.wakeWithin(s.plan.Next.Sub(now))
	}
	return nil
}

// nextRun is the run to make now: the one that is due, unless another is under way, or one whose making was cut short. It is nil
// when there is none.
func (r *Reconciler) nextRun(s *scope) *run.Run {
	now := r.Clock.Now()
	one := &run.Run{
		Namespace: s.probe.Namespace, Probe: s.probe.Name, Owner: record.OwnerReference(s.probe, "Probe"), Spec: &s.probe.Spec,
		Generation: s.probe.Generation, Due: s.plan.Due, Deadline: now.Add(s.probe.Spec.Policy.Timeout()),
	}
	switch {
	case s.active != nil && len(s.active.Jobs) > 0 && s.cutShort(s.active, now):
		one.ID, one.Due = s.active.RunID, s.active.Meta().Due
	case s.active == nil && s.invalid == nil && s.plan.IsDue():
		one.ID = run.ID(s.probe.Name, string(s.probe.UID), s.plan.Key)
	default:
		return nil
	}
	return one
}

// start makes the next run. While another is under way it does not: that one wakes us when it ends.
func (r *Reconciler) start(ctx context.Context, s *scope) error {
	one := r.nextRun(s)
	if one == nil {
		return nil
	}
	behind, err := r.isBehind(ctx, s.probe)
	if err != nil {
		return err
	}
	if behind {
		// The Probe wakes us when it comes into the cache.
		s.behind = true
		return nil
	}
	// A run of that name has ended already when the clock was set back: its time comes a second time, and nothing is to be done.
	if !record.Recorded(s.outcome, one.ID) {
		if err := r.begin(ctx, s, one); errors.Is(err, record.ErrRunOver) {
			return nil
		} else if err != nil {
			return err
		}
	}
	s.history.LastRun, s.history.LastGeneration = one.Due, s.probe.Generation
	s.plan.Due, s.plan.Key = time.Time{}, ""
	if s.plan.Next.IsZero() && s.invalid == nil {
		s.plan.State = kubeproberv1.ProbeCompletedReason
	}
	return nil
}

// isBehind asks the API server itself whether the cache has the newest state of a Probe. The status may tell of a run that was started
// just now, and its Job, when somebody has removed it, does not.
func (r *Reconciler) isBehind(ctx context.Context, probe *kubeproberv1.Probe) (bool, error) {
	newest := &kubeproberv1.Probe{}
	// Of one that is gone newest stays empty.
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(probe), newest); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading Probe %s: %w", klog.KObj(probe), err)
	}
	return newest.ResourceVersion != probe.ResourceVersion, nil
}

// begin makes a run, or records why it cannot be made. The error is record.ErrRunOver when the Probe is gone.
func (r *Reconciler) begin(ctx context.Context, s *scope, one *run.Run) error {
	log.FromContext(ctx).Info("Starting run", "run", one.ID, "due", one.Due)
	if err := r.Store.Prepare(ctx, runner.RefOf(one)); err != nil {
		return err
	}
	err := r.Runner.Start(ctx, one)
	now := r.Clock.Now()
	var refused *runner.RefusedError
	switch {
	case errors.As(err, &refused):
		r.announceRefusal(s, refused.Gap)
		ending := &record.Ending{Start: now, End: now, Nodes: []string{""}, Gaps: []record.Gap{refused.Gap}}
		// It is over even if the clock says that it began before the one that is shown.
		if err = r.finish(ctx, s, one.ID, one.Due, ending); errors.Is(err, record.ErrSuperseded) {
			return nil
		}
		return err
	case err != nil:
		return err
	case s.active == nil:
		r.Metrics.RunStarted(now.Sub(one.Due))
	}
	return nil
}

// announceRefusal writes an Event when the agent begins to refuse a probe. Later refusals make none.
func (r *Reconciler) announceRefusal(s *scope, gap record.Gap) {
	if gap.Reason != run.ReasonElevationRefused || len(s.outcome.History) > 0 && s.outcome.History[0].Reason == gap.Reason {
		return
	}
	r.Recorder.Eventf(s.probe, nil, corev1.EventTypeWarning, gap.Reason, "StartRun", "%s",
		bounded(fmt.Sprintf("Probe %s is not run: %s", s.probe.Name, gap.Message)))
}

// cutShort tells whether the agent may have stopped before all Jobs of a run were made: the status is written after the last.
func (s *scope) cutShort(g *runner.Group, now time.Time) bool {
	due, last := g.Meta().Due, s.probe.Status.LastRunTime
	if !s.probe.Spec.Policy.OnEveryNode() || schedule.InFuture(due, now) {
		return false
	}
	return last == nil || last.Time.Before(due) || schedule.InFuture(last.Time, now)
}

// prune removes the Jobs and pods of recorded runs, but for the newest.
func (r *Reconciler) prune(ctx context.Context, s *scope) error {
	return r.Runner.Prune(ctx, s.recorded)
}
