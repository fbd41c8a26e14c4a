// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

const (
	// maxAttached bounds the probes of one cluster; it is the bound of status.attachedProbes.
	maxAttached = 256
	// conflictRecheck is how soon a name that the managed cluster's own objects take is tried again: no watch tells when
	// it becomes free.
	conflictRecheck = time.Minute
	// syncTimeout bounds one sync, with syncTimeoutPerProbe for each probe: they are written one after the other, and a
	// cluster that is merely far away has to get through.
	syncTimeout         = 20 * time.Second
	syncTimeoutPerProbe = 250 * time.Millisecond
)

// wanted is what the managed cluster is to hold.
type wanted struct {
	namespace string
	// probes are those that the labels attach and that exist; missing are the names of the others.
	probes  []*kubeproberv1.Probe
	missing []string
	// probesKey and extraKey change whenever the probes, or the extra-config, may have to be written: with what is wanted,
	// and with each session.
	probesKey, extraKey string
}

// wants collects what the labels attach. It reads only the cache.
func (r *Reconciler) wants(ctx context.Context, s *scope) (wanted, error) {
	w := wanted{namespace: s.status.ProbeNamespace}
	var key strings.Builder
	_, _ = fmt.Fprintf(&key, "%s %d %s", s.cluster.UID, s.session.UnixNano(), w.namespace)
	w.extraKey = fmt.Sprintf("%s %d", key.String(), s.cluster.Generation)
	for _, name := range index.AttachedProbes(s.cluster) {
		probe := &kubeproberv1.Probe{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.ProbeNamespace, Name: name}, probe)
		switch {
		case apierrors.IsNotFound(err) || err == nil && !probe.DeletionTimestamp.IsZero() || len(w.probes) == maxAttached:
			w.missing = append(w.missing, name)
		case err != nil:
			return wanted{}, fmt.Errorf("reading Probe %s: %w", name, err)
		default:
			w.probes = append(w.probes, probe)
			_, _ = fmt.Fprintf(&key, " %s/%s/%d", name, probe.UID, probe.Generation)
		}
	}
	w.probesKey = key.String()
	return w, nil
}

// needsSync tells whether reconcileProbes is going to call the managed cluster.
func (r *Reconciler) needsSync(ctx context.Context, s *scope) bool {
	if !s.connected || s.status.ProbeNamespace == "" {
		return false
	}
	w, err := r.wants(ctx, s)
	return err == nil && !r.isSynced(s.cluster.Name, w)
}

// reconcileProbes makes the managed cluster hold the attached probes and the extra-config, and sets ProbesSynced.
func (r *Reconciler) reconcileProbes(ctx context.Context, s *scope) error {
	w, err := r.wants(ctx, s)
	if err != nil {
		return err
	}
	switch {
	case s.assumed:
		return nil
	case !s.connected:
		// The source of the fleet wakes us when the tunnel is up.
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionUnknown, kubeproberv1.ClusterDisconnectedReason,
			"Waiting for the tunnel")
		return nil
	case w.namespace == "":
		// The heartbeat wakes us.
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionUnknown, kubeproberv1.ClusterAwaitingHeartbeatReason,
			"Waiting for the first heartbeat, which tells the namespace of the agent")
		return nil
	}
	if r.isSynced(s.cluster.Name, w) {
		s.wakeAt(r.verifyTime(s.cluster.Name))
		r.setSynced(s, w, nil)
		return nil
	}
	if !r.slots.take(s.cluster.Name) {
		// The slots wake us when one is free.
		return nil
	}
	result, err := r.syncProbes(ctx, s, w)
	r.slots.give()
	if errors.Is(err, fleet.ErrNotConnected) {
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionUnknown, kubeproberv1.ClusterDisconnectedReason,
			"Waiting for the tunnel")
		return nil
	}
	s.status.AttachedProbes = result.held
	if err != nil {
		text := r.failures.Steady(s.cluster.Name, s.status.Conditions, kubeproberv1.ClusterProbesSyncedCondition,
			kubeproberv1.ClusterSyncFailedReason, err.Error(), s.now)
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionFalse, kubeproberv1.ClusterSyncFailedReason, text)
		r.tellSynced(s)
		if at, ok := fleet.RetryTime(err); ok {
			s.wakeAt(at)
			return nil
		}
		return err
	}
	if len(result.conflicts) > 0 {
		s.wakeAt(s.now.Add(conflictRecheck))
	} else {
		r.setKeys(s.cluster.Name, w)
		s.wakeAt(r.verifyTime(s.cluster.Name))
	}
	r.setSynced(s, w, result.conflicts)
	return nil
}

// setSynced sets ProbesSynced after the managed cluster took all that could be given to it.
func (r *Reconciler) setSynced(s *scope, w wanted, conflicts []string) {
	switch {
	case len(conflicts) > 0:
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionFalse, kubeproberv1.ClusterProbeConflictReason,
			fmt.Sprintf("Namespace %s of the managed cluster holds objects of its own by these names, which the master leaves alone: %s",
				w.namespace, listed(conflicts)))
	case len(w.missing) > 0:
		// The watch on Probes wakes us when they exist.
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionFalse, kubeproberv1.ClusterProbeNotFoundReason,
			fmt.Sprintf("Labels name Probes that are not in namespace %s: %s. Create them, or run \"kubectl label cluster %s %s-\"",
				r.ProbeNamespace, listed(w.missing), s.cluster.Name, kubeproberv1.AttachLabel(w.missing[0])))
	default:
		s.setCondition(kubeproberv1.ClusterProbesSyncedCondition, metav1.ConditionTrue, kubeproberv1.ClusterSyncedReason,
			fmt.Sprintf("The managed cluster holds the %d attached probes", len(w.probes)))
	}
	r.tellSynced(s)
}

// tellSynced records an Event when ProbesSynced turns False, turns to another reason, or recovers.
func (r *Reconciler) tellSynced(s *scope) {
	before := meta.FindStatusCondition(s.cluster.Status.Conditions, kubeproberv1.ClusterProbesSyncedCondition)
	now := meta.FindStatusCondition(s.status.Conditions, kubeproberv1.ClusterProbesSyncedCondition)
	switch {
	case before != nil && before.Reason == now.Reason && (now.Reason == kubeproberv1.ClusterSyncFailedReason || before.Message == now.Message):
		return
	case now.Status == metav1.ConditionFalse:
		r.notSynced(s.cluster, now.Reason, now.Message)
	case before != nil && before.Status == metav1.ConditionFalse:
		r.syncedAgain(s.cluster, now.Message)
	}
}

// outcome is what a sync found: the probes of the master's that the managed cluster holds now, and the names that its own
// objects take.
type outcome struct{ held, conflicts []string }

// syncProbes writes and deletes in the managed cluster. It goes on after an error, so that one probe which the cluster
// does not take keeps no other from it, but not after a timeout: a cluster that hangs must not hold a worker for each.
func (r *Reconciler) syncProbes(ctx context.Context, s *scope, w wanted) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout+time.Duration(len(w.probes))*syncTimeoutPerProbe)
	defer cancel()
	c, err := r.Fleet.Client(s.cluster.Name)
	if err != nil {
		return outcome{held: s.status.AttachedProbes}, err
	}
	m := managed{client: c, namespace: w.namespace}
	there, err := m.probes(ctx)
	if err != nil {
		return outcome{held: s.status.AttachedProbes}, err
	}
	result, err := m.writeProbes(ctx, w.probes, there)
	if fleet.TimedOut(err) || r.keysOf(s.cluster.Name).extra == w.extraKey {
		return result, err
	}
	taken, extraErr := m.applyExtraConfig(ctx, s.cluster.Spec.ExtraInfo)
	if taken {
		result.conflicts = append(result.conflicts, "ConfigMap "+kubeproberv1.ExtraConfigName)
	}
	if fleet.TimedOut(extraErr) {
		return result, errors.Join(err, extraErr)
	}
	return result, errors.Join(err, extraErr, r.removeOrphans(ctx, m))
}

// writeProbes applies the wanted probes and deletes the others of the master's, in the order of their names so that the
// same failures read the same. there is what the cluster holds. It ends at the first timeout.
func (m managed) writeProbes(ctx context.Context, probes []*kubeproberv1.Probe, there map[string]client.Object) (outcome, error) {
	held := make(map[string]bool, len(there))
	surplus := make(map[string]client.Object, len(there))
	for name, found := range there {
		if isManaged(found) {
			held[name], surplus[name] = true, found
		}
	}
	var conflicts []string
	var errs []error
	for _, probe := range probes {
		delete(surplus, probe.Name)
		if found, ok := there[probe.Name]; ok && !isManaged(found) {
			conflicts = append(conflicts, "Probe "+probe.Name)
			continue
		}
		err := m.applyProbe(ctx, probe)
		if err == nil {
			held[probe.Name] = true
			continue
		}
		if errs = append(errs, err); fleet.TimedOut(err) {
			return newOutcome(held, conflicts), errors.Join(errs...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(surplus)) {
		ctrl.LoggerFrom(ctx).Info("Deleting Probe in the managed cluster", "Probe", name)
		err := m.delete(ctx, surplus[name])
		if err == nil {
			delete(held, name)
			continue
		}
		if errs = append(errs, err); fleet.TimedOut(err) {
			break
		}
	}
	return newOutcome(held, conflicts), errors.Join(errs...)
}

func newOutcome(held map[string]bool, conflicts []string) outcome {
	names := slices.Sorted(maps.Keys(held))
	return outcome{held: names[:min(len(names), maxAttached)], conflicts: conflicts}
}

// removeOrphans deletes the copies of ProbeRuns that are gone on the master: their deletion may have met a cluster that
// was away for too long.
func (r *Reconciler) removeOrphans(ctx context.Context, m managed) error {
	copies, err := m.metadataOf(ctx, "ProbeRun", client.MatchingLabels{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster})
	if err != nil {
		return err
	}
	for name, copied := range copies {
		origin := copied.GetAnnotations()[fleet.OriginAnnotation]
		if origin == "" {
			continue
		}
		run := &kubeproberv1.ProbeRun{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.ProbeNamespace, Name: name}, run)
		if err == nil && string(run.UID) == origin {
			continue
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading ProbeRun %s: %w", name, err)
		}
		ctrl.LoggerFrom(ctx).Info("Deleting the copy of a ProbeRun that is gone", "ProbeRun", name)
		if err := m.delete(ctx, copied); err != nil {
			return err
		}
	}
	return nil
}
