// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package orphan removes the Jobs of Probes and ProbeRuns that are gone, in the namespace of elevated probes. Owner references
// do not cross namespaces, so the garbage collector does not. It knows nothing of what Jobs do.
package orphan

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Reconciler removes Jobs without an owner.
//
// It observes the Jobs of one namespace, and Probes and ProbeRuns, and deletes Jobs.
type Reconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Live reads owners that the cache does not have.
	Live   client.Reader
	Runner *runner.Runner
	// Namespace of the Jobs; it is another than that of the owners.
	Namespace string
}

// SetupWithManager starts the reconciler with a manager. Every Job is looked at when it starts.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Live == nil || r.Runner == nil || r.Namespace == "" {
		return errors.New("setting up the controller of orphaned Jobs: a field of the Reconciler is not set")
	}
	here := predicate.NewPredicateFuncs(func(job client.Object) bool { return job.GetNamespace() == r.Namespace })
	going := predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return e.ObjectNew.GetDeletionTimestamp() != nil },
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
	jobs := handler.EnqueueRequestsFromMapFunc(r.Runner.JobsOf(r.Namespace))
	err := ctrl.NewControllerManagedBy(mgr).
		Named("orphan").
		For(&batchv1.Job{}, builder.WithPredicates(here)).
		Watches(&kubeproberv1.Probe{}, jobs, builder.WithPredicates(going)).
		Watches(&kubeproberv1.ProbeRun{}, jobs, builder.WithPredicates(going)).
		Complete(reconcile.AsReconciler(mgr.GetClient(), r))
	if err != nil {
		return fmt.Errorf("setting up the controller of orphaned Jobs: %w", err)
	}
	return nil
}

// Reconcile removes a Job, and its pods with it, when its owner is gone.
func (r *Reconciler) Reconcile(ctx context.Context, job *batchv1.Job) (ctrl.Result, error) {
	owner := run.OwnerOf(job)
	if job.DeletionTimestamp != nil || owner.UID == "" {
		return ctrl.Result{}, nil
	}
	there, err := r.exists(ctx, owner)
	if err != nil || there {
		// The end of the owner wakes us.
		return ctrl.Result{}, err
	}
	log.FromContext(ctx).Info("Deleting Job whose owner is gone", "kind", owner.Kind, "owner", owner.NamespacedName)
	err = r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &job.UID})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return ctrl.Result{}, fmt.Errorf("deleting orphaned Job %s: %w", klog.KObj(job), err)
	}
	return ctrl.Result{}, nil
}

// exists tells whether an owner is there and not about to go. That it is gone the API server itself must say: the cache may not
// have it yet.
func (r *Reconciler) exists(ctx context.Context, owner run.Owner) (bool, error) {
	if owner.Name == "" {
		// Somebody has spoilt the Job. It is of no run that anybody waits for.
		return false, nil
	}
	for _, reader := range []client.Reader{r.Client, r.Live} {
		var object client.Object
		switch owner.Kind {
		case "Probe":
			object = &kubeproberv1.Probe{}
		case "ProbeRun":
			object = &kubeproberv1.ProbeRun{}
		default:
			return false, nil
		}
		err := reader.Get(ctx, owner.NamespacedName, object)
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("reading %s %s: %w", owner.Kind, owner.NamespacedName, err)
		}
		if err == nil && object.GetUID() == owner.UID && object.GetDeletionTimestamp() == nil {
			return true, nil
		}
	}
	return false, nil
}
