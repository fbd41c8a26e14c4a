// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

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
)

// reconcileDelete cleans up in the managed cluster, closes its tunnels and lets the Cluster go. One that cannot be
// reached is let go when cleanupPatience is over.
func (r *Reconciler) reconcileDelete(ctx context.Context, cluster *kubeproberv1.Cluster) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(cluster, kubeproberv1.ClusterFinalizer) {
		return reconcile.Result{}, nil
	}
	log := ctrl.LoggerFrom(ctx)
	left := time.Until(cluster.DeletionTimestamp.Add(cleanupPatience))
	if !r.slots.take(cluster.Name) {
		// The slots wake us when one is free.
		return reconcile.Result{}, nil
	}
	err := r.cleanUp(ctx, cluster)
	r.slots.give()
	retry, silent := fleet.RetryTime(err)
	switch {
	case err == nil:
		log.Info("Cleaned up in the managed cluster")
	case left <= 0:
		log.Info("Letting go of a Cluster that could not be cleaned up", "reason", err.Error())
		r.cleanupSkipped(cluster)
	case errors.Is(err, fleet.ErrNotConnected):
		// The source of the fleet wakes us when the tunnel is up before that.
		return reconcile.Result{RequeueAfter: left}, nil
	case silent:
		return reconcile.Result{RequeueAfter: max(time.Millisecond, min(left, time.Until(retry)))}, nil
	default:
		return reconcile.Result{}, err
	}
	if r.Release != nil {
		r.Release(cluster.Name)
	}
	if err := r.removeFinalizer(ctx, cluster); err != nil {
		return reconcile.Result{}, err
	}
	// An agent that still runs connects anew, and is then a new Cluster without probes.
	r.Fleet.Remove(cluster.Name, "the Cluster was deleted on the master")
	r.Beats.Forget(cluster.Name)
	r.forget(cluster.Name)
	return reconcile.Result{}, nil
}

func (r *Reconciler) cleanUp(ctx context.Context, cluster *kubeproberv1.Cluster) error {
	if cluster.Status.ProbeNamespace == "" {
		// Nothing was ever written where no namespace was known.
		return nil
	}
	c, err := r.Fleet.Client(cluster.Name)
	if err != nil {
		return err
	}
	return managed{client: c, namespace: cluster.Status.ProbeNamespace}.cleanUp(ctx)
}

func (r *Reconciler) removeFinalizer(ctx context.Context, cluster *kubeproberv1.Cluster) error {
	patched := cluster.DeepCopy()
	controllerutil.RemoveFinalizer(patched, kubeproberv1.ClusterFinalizer)
	patch := client.MergeFromWithOptions(cluster, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, patched, patch, client.FieldOwner(FieldOwner)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing the finalizer of Cluster %s: %w", cluster.Name, err)
	}
	return nil
}
