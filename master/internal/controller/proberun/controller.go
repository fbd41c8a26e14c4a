// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proberun carries one-time diagnoses: it hands a ProbeRun of the master to its managed cluster, with the probes
// filled in, mirrors the results back, and removes what is too old. It knows nothing of how a run is made; the agent does.
package proberun

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/failure"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

const (
	// fieldOwner is who writes ProbeRuns.
	fieldOwner = "probe-master"
	// acceptDeadline is how long a run waits for its cluster to take it.
	acceptDeadline = 10 * time.Minute
	// resultGrace is how long after its probes' own timeouts a run waits for results.
	resultGrace = 5 * time.Minute
	// releasePatience is how long a deleted run waits for its managed cluster to be reachable.
	releasePatience = 5 * time.Minute
	// maxBackoff bounds the time between two attempts at a managed cluster that fails.
	maxBackoff = 30 * time.Second
)

// Reconciler reconciles ProbeRuns. All fields but Concurrency are required.
type Reconciler struct {
	Client client.Client
	Fleet  *fleet.Fleet
	Beats  *heartbeat.Store
	// ProbeNamespace holds the Probes and ProbeRuns of the master.
	ProbeNamespace string
	// Concurrency is how many ProbeRuns are reconciled at once. Default 16.
	Concurrency int

	// failures keeps the texts of Accepted steady.
	failures failure.Texts
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Fleet == nil || r.Beats == nil || r.ProbeNamespace == "" {
		return errors.New("setting up the proberun controller: Client, Fleet, Beats and ProbeNamespace are required")
	}
	if r.Concurrency == 0 {
		r.Concurrency = 16
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("proberun").
		For(&kubeproberv1.ProbeRun{}).
		Watches(&kubeproberv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, cluster client.Object) []reconcile.Request {
			return r.openRuns(ctx, cluster.GetName())
		})).
		Watches(&kubeproberv1.Probe{}, handler.EnqueueRequestsFromMapFunc(r.waitingRuns), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.Fleet.Source(r.openRuns)).
		WatchesRawSource(r.Beats.RunSource(r.ProbeNamespace)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Concurrency,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, maxBackoff),
		}).
		Complete(r)
}

// openRuns are the runs of a cluster that are not finished, or wait to be removed.
func (r *Reconciler) openRuns(ctx context.Context, cluster string) []reconcile.Request {
	runs, err := index.RunsOfCluster(ctx, r.Client, r.ProbeNamespace, cluster)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Finding the ProbeRuns of a Cluster failed", "Cluster", cluster)
		return nil
	}
	var requests []reconcile.Request
	for i := range runs {
		if !runs[i].Status.Phase.Finished() || !runs[i].DeletionTimestamp.IsZero() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&runs[i])})
		}
	}
	return requests
}

// waitingRuns are the runs that no cluster has taken yet: a new Probe may be the one that they name.
func (r *Reconciler) waitingRuns(ctx context.Context, _ client.Object) []reconcile.Request {
	runs := &kubeproberv1.ProbeRunList{}
	if err := r.Client.List(ctx, runs, client.InNamespace(r.ProbeNamespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing ProbeRuns failed")
		return nil
	}
	var requests []reconcile.Request
	for i := range runs.Items {
		run := &runs.Items[i]
		if !run.Status.Phase.Finished() && !meta.IsStatusConditionTrue(run.Status.Conditions, kubeproberv1.ProbeRunAcceptedCondition) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(run)})
		}
	}
	return requests
}

// scope is what one reconcile works on.
type scope struct {
	// run is the object as it was read; nothing changes it.
	run *kubeproberv1.ProbeRun
	// cluster is nil while there is no such Cluster.
	cluster *kubeproberv1.Cluster
	// status is the status as it should be.
	status kubeproberv1.ProbeRunStatus
	now    time.Time
}

// Reconcile takes one run a step further.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	run := &kubeproberv1.ProbeRun{}
	if err := r.Client.Get(ctx, request.NamespacedName, run); err != nil {
		if apierrors.IsNotFound(err) {
			// The heartbeats also tell of runs whose ProbeRun is gone.
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading ProbeRun %s: %w", request.Name, err)
	}
	cluster, err := r.clusterOf(ctx, run)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !run.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, run, cluster)
	}
	if err := r.adopt(ctx, run, cluster); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.prune(ctx, run.Spec.ClusterName); err != nil {
		return reconcile.Result{}, err
	}
	if run.Status.Phase.Finished() {
		return r.reconcileFinished(ctx, run)
	}
	s := &scope{run: run, cluster: cluster, status: *run.Status.DeepCopy(), now: time.Now()}
	advanceErr := r.advance(ctx, s)
	left := r.expire(ctx, s)
	if at, ok := fleet.RetryTime(advanceErr); ok && !s.status.Phase.Finished() {
		// Waiting is not an error.
		left, advanceErr = untilRetry(at, left), nil
	}
	if err := errors.Join(r.patchStatus(ctx, s), advanceErr); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: left}, nil
}

// untilRetry is how long to wait for the next attempt at a cluster that does not answer, at most until left.
func untilRetry(at time.Time, left time.Duration) time.Duration {
	return max(time.Millisecond, min(left, time.Until(at)))
}

func (r *Reconciler) clusterOf(ctx context.Context, run *kubeproberv1.ProbeRun) (*kubeproberv1.Cluster, error) {
	if run.Spec.ClusterName == "" {
		return nil, nil
	}
	cluster := &kubeproberv1.Cluster{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: run.Spec.ClusterName}, cluster)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Cluster %s: %w", run.Spec.ClusterName, err)
	}
	return cluster, nil
}

// adopt marks the run as the master's: its finalizer, the label of its cluster, and the Cluster as its owner, so that it
// goes with it.
func (r *Reconciler) adopt(ctx context.Context, run *kubeproberv1.ProbeRun, cluster *kubeproberv1.Cluster) error {
	patched := run.DeepCopy()
	controllerutil.AddFinalizer(patched, kubeproberv1.ProbeRunFinalizer)
	if run.Spec.ClusterName != "" {
		labels := maps.Clone(patched.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[kubeproberv1.ClusterLabel] = run.Spec.ClusterName
		patched.Labels = labels
	}
	if cluster != nil {
		if err := controllerutil.SetOwnerReference(cluster, patched, r.Client.Scheme()); err != nil {
			return fmt.Errorf("making Cluster %s the owner of ProbeRun %s: %w", cluster.Name, run.Name, err)
		}
	}
	if equality.Semantic.DeepEqual(run.ObjectMeta, patched.ObjectMeta) {
		return nil
	}
	patch := client.MergeFromWithOptions(run, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, patched, patch, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("adopting ProbeRun %s: %w", run.Name, err)
	}
	patched.DeepCopyInto(run)
	return nil
}

func (r *Reconciler) patchStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(s.run.Status, s.status) {
		return nil
	}
	patched := s.run.DeepCopy()
	patched.Status = s.status
	err := r.Client.Status().Patch(ctx, patched, client.MergeFrom(s.run), client.FieldOwner(fieldOwner))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patching the status of ProbeRun %s: %w", s.run.Name, err)
	}
	return nil
}

func (s *scope) setCondition(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: s.run.Generation,
	})
}
