// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster reconciles Clusters: it writes what the heartbeats and tunnels tell into their status, makes the
// managed cluster hold the probes that the labels attach, and cleans up behind a deleted Cluster. It is the only writer
// of a Cluster's status, its identity aside. It knows nothing of how one-time diagnoses are made.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/failure"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

const (
	// FieldOwner is who writes Clusters, and the objects in managed clusters.
	FieldOwner = "probe-master"
	// DefaultReconnectGrace is how long after the master began to lead a Cluster that was connected keeps its conditions
	// although its tunnel is not back yet, so that a restart of the master does not look like an outage of the fleet.
	DefaultReconnectGrace = 45 * time.Second
	// cleanupPatience is how long a deleted Cluster waits for its managed cluster to be reachable.
	cleanupPatience = 5 * time.Minute
	// maxBackoff bounds the time between two attempts at a managed cluster that refuses what the master writes.
	maxBackoff = 2 * time.Minute
)

// Reconciler reconciles Clusters. All fields but the times and Release are required.
type Reconciler struct {
	Client client.Client
	Fleet  *fleet.Fleet
	Beats  *heartbeat.Store
	Events events.EventRecorder
	// Release is told the name of a deleted Cluster just before that is let go.
	Release func(cluster string)
	// ProbeNamespace holds the Probes and ProbeRuns of the master.
	ProbeNamespace string
	// Concurrency is how many managed clusters are waited for at once. Default 32.
	Concurrency int
	// ReconnectGrace defaults to DefaultReconnectGrace.
	ReconnectGrace time.Duration

	// started is when the controller started, which is when this replica began to lead.
	started time.Time
	slots   *slots
	mu      sync.Mutex
	synced  map[string]keys
	// failures keeps the texts of ProbesSynced steady.
	failures failure.Texts
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Fleet == nil || r.Beats == nil || r.Events == nil || r.ProbeNamespace == "" {
		return errors.New("setting up the cluster controller: Client, Fleet, Beats, Events and ProbeNamespace are required")
	}
	if r.Concurrency == 0 {
		r.Concurrency = 32
	}
	if r.ReconnectGrace == 0 {
		r.ReconnectGrace = DefaultReconnectGrace
	}
	r.synced = map[string]keys{}
	r.slots = newSlots(r.Concurrency)
	return ctrl.NewControllerManagedBy(mgr).
		Named("cluster").
		For(&kubeproberv1.Cluster{}).
		// The status of a Probe counts its clusters: without the predicate each attachment would wake all of them.
		Watches(&kubeproberv1.Probe{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfProbe), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&kubeproberv1.ProbeRun{}, handler.EnqueueRequestsFromMapFunc(clusterOfRun)).
		WatchesRawSource(r.Beats.ClusterSource()).
		WatchesRawSource(r.Fleet.Source(func(_ context.Context, cluster string) []reconcile.Request { return requestFor(cluster) })).
		WatchesRawSource(r.startSource()).
		WithOptions(controller.Options{
			// Some are left when all slots are taken: they write what heartbeats tell.
			MaxConcurrentReconciles: r.Concurrency + max(1, r.Concurrency/4),
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, maxBackoff),
		}).
		Complete(r)
}

// startSource notes when this replica begins to lead, which may be long after its start, and wakes a Cluster when there is
// a slot for it.
func (r *Reconciler) startSource() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.started = time.Now()
		r.slots.onFree(func(cluster string) { queue.Add(requestFor(cluster)[0]) })
		return nil
	})
}

func requestFor(cluster string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: cluster}}}
}

// clustersOfProbe are the Clusters whose labels attach the Probe, and those that hold a copy of it.
func (r *Reconciler) clustersOfProbe(ctx context.Context, probe client.Object) []reconcile.Request {
	clusters, err := index.ClustersOfProbe(ctx, r.Client, probe.GetName())
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Finding the Clusters of a Probe failed", "Probe", probe.GetName())
		return nil
	}
	requests := make([]reconcile.Request, 0, len(clusters))
	for i := range clusters {
		requests = append(requests, requestFor(clusters[i].Name)...)
	}
	return requests
}

func clusterOfRun(_ context.Context, run client.Object) []reconcile.Request {
	if r, ok := run.(*kubeproberv1.ProbeRun); ok && r.Spec.ClusterName != "" {
		return requestFor(r.Spec.ClusterName)
	}
	return nil
}

// scope is what one reconcile works on. Each field says which phase sets it.
type scope struct {
	// cluster is the object as it was read; nothing changes it.
	cluster *kubeproberv1.Cluster
	// status is the status as it should be; all phases write into it.
	status kubeproberv1.ClusterStatus
	// now is the one time that all phases judge by.
	now time.Time
	// connected, assumed and session are set by reconcileConnection. assumed: the tunnel is expected back after a restart
	// of the master, so that the conditions stay as they are.
	connected, assumed bool
	session            time.Time
	// heard is when the agent was heard last, set by reconcileHeartbeat.
	heard time.Time
	// wake is the next moment at which time alone changes something; any phase may bring it forward.
	wake time.Time
}

func (s *scope) wakeAt(t time.Time) {
	if t.After(s.now) && (s.wake.IsZero() || t.Before(s.wake)) {
		s.wake = t
	}
}

// Reconcile brings one Cluster's status up to date and its managed cluster in line with its labels.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if r.slots.isOffered(request.Name) {
		defer r.slots.decline(request.Name)
	}
	cluster := &kubeproberv1.Cluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			// The agent may be heard before the cache knows the Cluster: the watch on Clusters wakes us then.
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading Cluster %s: %w", request.Name, err)
	}
	if !cluster.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, cluster)
	}
	if !controllerutil.ContainsFinalizer(cluster, kubeproberv1.ClusterFinalizer) {
		// The watch on Clusters wakes us with the finalizer in place.
		return reconcile.Result{}, r.addFinalizer(ctx, cluster)
	}
	s := &scope{cluster: cluster, status: *cluster.Status.DeepCopy(), now: time.Now()}
	r.reconcileConnection(s)
	r.reconcileHeartbeat(s)
	r.doubtSynced(s)
	if err := r.reconcileOnceProbeList(ctx, s); err != nil {
		return reconcile.Result{}, err
	}
	if s.hasNews() && r.needsSync(ctx, s) {
		// Results must not wait for a managed cluster that is slow to take its probes.
		if err := r.patchStatus(ctx, s); err != nil {
			return reconcile.Result{}, err
		}
	}
	syncErr := r.reconcileProbes(ctx, s)
	if err := errors.Join(r.patchStatus(ctx, s), syncErr); err != nil {
		return reconcile.Result{}, err
	}
	if s.wake.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: time.Until(s.wake) + time.Millisecond}, nil
}

func (r *Reconciler) addFinalizer(ctx context.Context, cluster *kubeproberv1.Cluster) error {
	patched := cluster.DeepCopy()
	controllerutil.AddFinalizer(patched, kubeproberv1.ClusterFinalizer)
	// Finalizers are replaced as a list: the lock keeps those that others add meanwhile.
	patch := client.MergeFromWithOptions(cluster, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, patched, patch, client.FieldOwner(FieldOwner)); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("adding the finalizer to Cluster %s: %w", cluster.Name, err)
	}
	return nil
}
