// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

// prune deletes the finished runs of a cluster beyond the newest MaxProbeRuns.
func (r *Reconciler) prune(ctx context.Context, cluster string) error {
	if cluster == "" {
		return nil
	}
	runs, err := index.RunsOfCluster(ctx, r.Client, r.ProbeNamespace, cluster)
	if err != nil {
		return err
	}
	for i := kubeproberv1.MaxProbeRuns; i < len(runs); i++ {
		if runs[i].Status.Phase.Finished() && runs[i].DeletionTimestamp.IsZero() {
			if err := r.remove(ctx, &runs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// reconcileFinished removes a run whose time to live is over.
func (r *Reconciler) reconcileFinished(ctx context.Context, run *kubeproberv1.ProbeRun) (reconcile.Result, error) {
	if run.Spec.TTLSecondsAfterFinished == nil || run.Status.FinishTime == nil {
		return reconcile.Result{}, nil
	}
	ttl := time.Duration(*run.Spec.TTLSecondsAfterFinished) * time.Second
	if left := time.Until(run.Status.FinishTime.Add(ttl)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{}, r.remove(ctx, run)
}

func (r *Reconciler) remove(ctx context.Context, run *kubeproberv1.ProbeRun) error {
	uid := run.UID
	ctrl.LoggerFrom(ctx).Info("Deleting a ProbeRun that is too old", "ProbeRun", run.Name)
	err := r.Client.Delete(ctx, run.DeepCopy(), client.Preconditions{UID: &uid})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting ProbeRun %s: %w", run.Name, err)
	}
	return nil
}

// reconcileDelete removes the copy in the managed cluster and lets the run go. One whose cluster is gone, or cannot be
// reached for releasePatience, is let go as it is.
func (r *Reconciler) reconcileDelete(ctx context.Context, run *kubeproberv1.ProbeRun, cluster *kubeproberv1.Cluster) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(run, kubeproberv1.ProbeRunFinalizer) {
		return reconcile.Result{}, nil
	}
	left := time.Until(run.DeletionTimestamp.Add(releasePatience))
	if err := r.removeCopy(ctx, run, cluster); err != nil && left > 0 {
		if errors.Is(err, fleet.ErrNotConnected) {
			// The source of the fleet wakes us when the tunnel is up before that.
			return reconcile.Result{RequeueAfter: left}, nil
		}
		if at, ok := fleet.RetryTime(err); ok {
			return reconcile.Result{RequeueAfter: untilRetry(at, left)}, nil
		}
		return reconcile.Result{}, err
	}
	patched := run.DeepCopy()
	controllerutil.RemoveFinalizer(patched, kubeproberv1.ProbeRunFinalizer)
	patch := client.MergeFromWithOptions(run, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, patched, patch, client.FieldOwner(fieldOwner)); err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, fmt.Errorf("removing the finalizer of ProbeRun %s: %w", run.Name, err)
	}
	return reconcile.Result{}, nil
}

// removeCopy deletes the copy of the run, and only that. A Cluster that is being deleted removes all copies itself.
func (r *Reconciler) removeCopy(ctx context.Context, run *kubeproberv1.ProbeRun, cluster *kubeproberv1.Cluster) error {
	if cluster == nil || !cluster.DeletionTimestamp.IsZero() || cluster.Status.ProbeNamespace == "" {
		return nil
	}
	c, err := r.Fleet.Client(cluster.Name)
	if err != nil {
		return err
	}
	copied := &kubeproberv1.ProbeRun{}
	err = c.Get(ctx, client.ObjectKey{Namespace: cluster.Status.ProbeNamespace, Name: run.Name}, copied)
	if apierrors.IsNotFound(err) || err == nil && copied.Annotations[fleet.OriginAnnotation] != string(run.UID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ProbeRun %s of cluster %s: %w", run.Name, cluster.Name, err)
	}
	uid := copied.UID
	if err := c.Delete(ctx, copied, client.Preconditions{UID: &uid}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ProbeRun %s of cluster %s: %w", run.Name, cluster.Name, err)
	}
	return nil
}
