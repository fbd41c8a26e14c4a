// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe reconciles the Probes of the master: it counts the Clusters that a Probe is attached to, and keeps a
// deleted Probe until no managed cluster holds a copy. It knows nothing of how the copies are made and removed: the
// cluster controller does that.
package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

// fieldOwner is who writes Probes.
const fieldOwner = "probe-master"

// Reconciler reconciles Probes. All fields are required.
type Reconciler struct {
	Client client.Client
	// ProbeNamespace holds the Probes of the master.
	ProbeNamespace string
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.ProbeNamespace == "" {
		return errors.New("setting up the probe controller: Client and ProbeNamespace are required")
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("probe").
		For(&kubeproberv1.Probe{}).
		Watches(&kubeproberv1.Cluster{}, r.clusterHandler()).
		Complete(r)
}

// clusterHandler wakes the Probes that a Cluster attaches or holds, and those that it did before it changed: a label that
// is gone has to be noticed too.
func (r *Reconciler) clusterHandler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(q queue, names []string) {
		for _, name := range names {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.ProbeNamespace, Name: name}})
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(q, probesOf(e.Object)) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			// Most updates of a Cluster are results: they concern no Probe.
			before, after := probesOf(e.ObjectOld), probesOf(e.ObjectNew)
			if !slices.Equal(before, after) || isConnected(e.ObjectOld) != isConnected(e.ObjectNew) {
				add(q, before)
				add(q, after)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(q, probesOf(e.Object)) },
	}
}

func isConnected(object client.Object) bool {
	cluster, ok := object.(*kubeproberv1.Cluster)
	return ok && meta.IsStatusConditionTrue(cluster.Status.Conditions, kubeproberv1.ClusterConnectedCondition)
}

func probesOf(object client.Object) []string {
	cluster, ok := object.(*kubeproberv1.Cluster)
	if !ok {
		return nil
	}
	return append(index.AttachedProbes(cluster), cluster.Status.AttachedProbes...)
}

// Reconcile counts the Clusters of one Probe and keeps its finalizer while there are any.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	probe := &kubeproberv1.Probe{}
	if err := r.Client.Get(ctx, request.NamespacedName, probe); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading Probe %s: %w", request.Name, err)
	}
	clusters, err := index.ClustersOfProbe(ctx, r.Client, probe.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.reconcileFinalizer(ctx, probe, clusters); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.reconcileStatus(ctx, probe, clusters)
}

// reconcileFinalizer holds a Probe back while a managed cluster has a copy. A label alone holds none back that is being
// deleted: what it names is gone for the cluster controller, so that it removes the copies. Nor does a cluster that is
// away: it could be away for good, and its copy is removed by the sync when it is back.
func (r *Reconciler) reconcileFinalizer(ctx context.Context, probe *kubeproberv1.Probe, clusters []kubeproberv1.Cluster) error {
	deleting := !probe.DeletionTimestamp.IsZero()
	attached := slices.ContainsFunc(clusters, func(c kubeproberv1.Cluster) bool {
		return !deleting || isConnected(&c) && slices.Contains(c.Status.AttachedProbes, probe.Name)
	})
	patched := probe.DeepCopy()
	changed := false
	switch {
	case attached && !deleting:
		changed = controllerutil.AddFinalizer(patched, kubeproberv1.AttachedFinalizer)
	case !attached:
		changed = controllerutil.RemoveFinalizer(patched, kubeproberv1.AttachedFinalizer)
	}
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(probe, client.MergeFromWithOptimisticLock{})
	err := r.Client.Patch(ctx, patched, patch, client.FieldOwner(fieldOwner))
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		// The watch on Probes wakes us with the newer one.
		return nil
	case err != nil:
		return fmt.Errorf("patching the finalizer of Probe %s: %w", probe.Name, err)
	}
	patched.DeepCopyInto(probe)
	return nil
}

func (r *Reconciler) reconcileStatus(ctx context.Context, probe *kubeproberv1.Probe, clusters []kubeproberv1.Cluster) error {
	var attached int32
	for i := range clusters {
		if index.Attaches(&clusters[i], probe.Name) {
			attached++
		}
	}
	if probe.Status.AttachedClusters != nil && *probe.Status.AttachedClusters == attached &&
		probe.Status.ObservedGeneration == probe.Generation {
		return nil
	}
	patched := probe.DeepCopy()
	patched.Status.AttachedClusters = &attached
	patched.Status.ObservedGeneration = probe.Generation
	err := r.Client.Status().Patch(ctx, patched, client.MergeFrom(probe), client.FieldOwner(fieldOwner))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patching the status of Probe %s: %w", probe.Name, err)
	}
	return nil
}
