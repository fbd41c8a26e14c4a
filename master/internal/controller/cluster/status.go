// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	beats "github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

// reconcileConnection sets Connected. A source of the fleet wakes us when the tunnel comes or goes.
func (r *Reconciler) reconcileConnection(s *scope) {
	s.session, s.connected = r.Fleet.Session(s.cluster.Name)
	if s.connected {
		s.setCondition(kubeproberv1.ClusterConnectedCondition, metav1.ConditionTrue, kubeproberv1.ClusterTunnelUpReason,
			"The tunnel is up")
		return
	}
	end := r.started.Add(r.ReconnectGrace)
	if s.now.Before(end) && !r.Fleet.Seen(s.cluster.Name) && meta.IsStatusConditionTrue(s.status.Conditions, kubeproberv1.ClusterConnectedCondition) {
		s.assumed = true
		s.wakeAt(end)
		return
	}
	s.setCondition(kubeproberv1.ClusterConnectedCondition, metav1.ConditionFalse, kubeproberv1.ClusterTunnelDownReason,
		"No tunnel: look at the log of probe-tunnel in the managed cluster")
}

// reconcileHeartbeat takes over what the agent told last. Without a heartbeat since the master started, what the status
// holds is kept.
func (r *Reconciler) reconcileHeartbeat(s *scope) {
	s.heard = r.lastHeard(s)
	beat, ok := r.Beats.Latest(s.cluster.Name)
	if !ok {
		return
	}
	s.heard = beat.Received
	before := s.status.DeepCopy()
	s.status.K8sVersion = beat.K8sVersion
	s.status.AgentVersion = beat.AgentVersion
	s.status.NodeCount = beat.NodeCount
	s.status.ProbeNamespace = beat.ProbeNamespace
	s.status.ExtraStatus = beat.ExtraStatus
	s.status.Probes = slices.SortedFunc(slices.Values(beat.Probes), byProbeName)
	if before.HeartbeatTime == nil || beat.Received.Sub(before.HeartbeatTime.Time) >= beats.RefreshInterval ||
		!equality.Semantic.DeepEqual(before, &s.status) {
		s.status.HeartbeatTime = &metav1.Time{Time: beat.Received}
	}
}

// lastHeard is when the agent was heard as far as the status tells. The master could not listen before it started, so an
// agent that was not late then is given its intervals anew.
func (r *Reconciler) lastHeard(s *scope) time.Time {
	if s.status.HeartbeatTime == nil {
		return time.Time{}
	}
	heard := s.status.HeartbeatTime.Time
	ready := meta.FindStatusCondition(s.status.Conditions, kubeproberv1.ClusterReadyCondition)
	wasLate := ready != nil && ready.Reason == kubeproberv1.ClusterHeartbeatLateReason
	if !wasLate && heard.Before(r.started) {
		return r.started
	}
	return heard
}

// reconcileOnceProbeList names the newest diagnoses. The watch on ProbeRuns wakes us.
func (r *Reconciler) reconcileOnceProbeList(ctx context.Context, s *scope) error {
	runs, err := index.RunsOfCluster(ctx, r.Client, r.ProbeNamespace, s.cluster.Name)
	if err != nil {
		return err
	}
	s.status.OnceProbeList = nil
	for _, run := range runs[:min(len(runs), kubeproberv1.MaxOnceProbeList)] {
		record := kubeproberv1.OnceProbeRecord{
			ID: run.Name, CreateTime: &metav1.Time{Time: run.CreationTimestamp.Time}, FinishTime: run.Status.FinishTime,
		}
		for _, probe := range run.Status.Probes {
			record.Probes = append(record.Probes, probe.Name)
		}
		if len(record.Probes) == 0 {
			for _, probe := range run.Spec.Probes {
				record.Probes = append(record.Probes, probe.Name)
			}
		}
		s.status.OnceProbeList = append(s.status.OnceProbeList, record)
	}
	return nil
}

// reconcileReady sums the checkers up and sets Ready.
func (r *Reconciler) reconcileReady(ctx context.Context, s *scope) error {
	wanted, err := r.judged(ctx, s)
	if err != nil {
		return err
	}
	s.status.Checkers = checkers(wanted, s.status.Probes)
	if s.assumed {
		return nil
	}
	v := judge(s.now, s.connected, s.heard, wanted, s.status.Probes)
	s.wakeAt(v.until)
	s.setCondition(kubeproberv1.ClusterReadyCondition, v.status, v.reason, v.message)
	return nil
}

// judged are the attached probes that Ready and the sums go by. A suspended one brings no results, so that its last ones
// would be stale for good. The watch on Probes wakes us when that changes.
func (r *Reconciler) judged(ctx context.Context, s *scope) ([]string, error) {
	var names []string
	for _, name := range index.AttachedProbes(s.cluster) {
		probe := &kubeproberv1.Probe{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.ProbeNamespace, Name: name}, probe, client.UnsafeDisableDeepCopy)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading Probe %s: %w", name, err)
		}
		if err != nil || !probe.Spec.Policy.Suspended() {
			names = append(names, name)
		}
	}
	return names, nil
}

// patchStatus writes the status when it differs from what was read.
func (r *Reconciler) patchStatus(ctx context.Context, s *scope) error {
	if err := r.reconcileReady(ctx, s); err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(s.cluster.Status, s.status) {
		return nil
	}
	patched := s.cluster.DeepCopy()
	patched.Status = *s.status.DeepCopy()
	if err := r.Client.Status().Patch(ctx, patched, client.MergeFrom(s.cluster), client.FieldOwner(FieldOwner)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("patching the status of Cluster %s: %w", s.cluster.Name, err)
	}
	// The server keeps times in whole seconds: what it answered is what the next phase compares with.
	s.cluster, s.status = patched, *patched.Status.DeepCopy()
	return nil
}

// hasNews tells whether the agent or the tunnel told something that the Cluster does not show yet.
func (s *scope) hasNews() bool { return !equality.Semantic.DeepEqual(s.cluster.Status, s.status) }

func (s *scope) setCondition(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: s.cluster.Generation,
	})
}

// checkers is TOTAL/ERROR over the attached probes; empty when none is attached.
func checkers(wanted []string, probes []kubeproberv1.ClusterProbeStatus) string {
	if len(wanted) == 0 {
		return ""
	}
	var total, failed int32
	for _, probe := range probes {
		if slices.Contains(wanted, probe.Name) {
			total += probe.Total
			failed += probe.Error
		}
	}
	return fmt.Sprintf("%d/%d", total, failed)
}

// verdict is what Ready says, and until when time alone does not change it.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
	until           time.Time
}

// judge decides what Ready says. What could not be checked is never called broken, and never healthy: a cluster that
// cannot be heard or whose results are old is Unknown, whatever they were.
func judge(now time.Time, connected bool, heard time.Time, wanted []string, probes []kubeproberv1.ClusterProbeStatus) verdict {
	unknown := func(reason, message string) verdict {
		return verdict{status: metav1.ConditionUnknown, reason: reason, message: message}
	}
	late := heard.Add(heartbeat.LateAfter)
	switch {
	case !connected:
		return unknown(kubeproberv1.ClusterDisconnectedReason, "The cluster cannot be reached: it has no tunnel")
	case heard.IsZero():
		return unknown(kubeproberv1.ClusterAwaitingHeartbeatReason, "The agent has not been heard yet")
	case !now.Before(late):
		return unknown(kubeproberv1.ClusterHeartbeatLateReason,
			fmt.Sprintf("The agent was last heard at %s: look at the log of probe-agent in the managed cluster", heard.UTC().Format(time.RFC3339)))
	}
	v := judgeResults(now, wanted, probes)
	if v.until.IsZero() || late.Before(v.until) {
		v.until = late
	}
	return v
}

// judgeResults decides on the results alone.
func judgeResults(now time.Time, wanted []string, probes []kubeproberv1.ClusterProbeStatus) verdict {
	byName := make(map[string]*kubeproberv1.ClusterProbeStatus, len(probes))
	for i := range probes {
		byName[probes[i].Name] = &probes[i]
	}
	var failed, stale, awaited, unknown []string
	v := verdict{}
	for _, name := range wanted {
		probe := byName[name]
		if probe == nil || probe.Status == "" {
			awaited = append(awaited, name)
			continue
		}
		if probe.StaleTime != nil && !now.Before(probe.StaleTime.Time) {
			stale = append(stale, name)
			continue
		}
		if probe.StaleTime != nil && (v.until.IsZero() || probe.StaleTime.Time.Before(v.until)) {
			v.until = probe.StaleTime.Time
		}
		switch {
		case probe.Status == kubeproberv1.CheckerError || probe.Error > 0:
			failed = append(failed, fmt.Sprintf("%s: %d of %d checkers: %s", name, probe.Error, probe.Total, probe.Message))
		case probe.Status == kubeproberv1.CheckerUnknown || probe.Unknown > 0:
			unknown = append(unknown, name+": "+probe.Message)
		}
	}
	v.status = metav1.ConditionUnknown
	switch {
	case len(failed) > 0:
		v.status, v.reason, v.message = metav1.ConditionFalse, kubeproberv1.ClusterCheckersFailReason, "Failing: "+listed(failed)
	case len(stale) > 0:
		v.reason, v.message = kubeproberv1.ClusterResultsStaleReason, "Results are too old to be trusted: "+listed(stale)
	case len(awaited) > 0:
		v.reason, v.message = kubeproberv1.ClusterAwaitingResultsReason, "No results yet: "+listed(awaited)
	case len(unknown) > 0:
		v.reason, v.message = kubeproberv1.ClusterCheckersUnknownReason, "Could not be checked: "+listed(unknown)
	case len(wanted) == 0:
		v.status, v.reason, v.message = metav1.ConditionTrue, kubeproberv1.ClusterNoProbesReason, "No active probe is attached"
	default:
		v.status, v.reason, v.message = metav1.ConditionTrue, kubeproberv1.ClusterCheckersPassReason, "All attached probes pass"
	}
	return v
}

// listed joins at most five entries, and bounds the length of the whole.
func listed(entries []string) string {
	const most, longest = 5, 2048
	text := strings.Join(entries[:min(len(entries), most)], "; ")
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	if rest := len(entries) - most; rest > 0 {
		text += fmt.Sprintf("; and %d more", rest)
	}
	return text
}
