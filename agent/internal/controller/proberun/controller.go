// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proberun carries out one-time diagnoses: it runs each probe of a ProbeRun once, beside whatever the schedule does,
// and keeps the newest ProbeRuns. How a run is made and judged is for package runner.
package proberun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	workers = 4
	// maxManagedRuns bounds the ProbeRuns of the master. It removes its own; this holds when it does not.
	maxManagedRuns = 64
)

// Reconciler carries out ProbeRuns.
//
// It observes ProbeRuns, their Jobs and the pods of these, and reads Probes. It writes Jobs and the status of ProbeRuns, and
// deletes old ProbeRuns.
type Reconciler struct {
	Client client.Client
	Runner *runner.Runner
	Store  *record.Store
	Clock  clock.PassiveClock
	// NewQueue makes the queue of the controller, whose delays must follow Clock; nil with the real clock.
	NewQueue func(controller string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// SetupWithManager starts the reconciler with a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Runner == nil || r.Store == nil || r.Clock == nil {
		return errors.New("setting up the controller of ProbeRuns: a field of the Reconciler is not set")
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("proberun").
		// Its own writes wake it as well: each of them may be the last that a phase waits for.
		For(&kubeproberv1.ProbeRun{}).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(runner.OwnerOfJob("ProbeRun"))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.Runner.OwnerOfPod("ProbeRun"))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, NewQueue: r.NewQueue}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), r))
	if err != nil {
		return fmt.Errorf("setting up the controller of ProbeRuns: %w", err)
	}
	return nil
}

// Reconcile takes a ProbeRun one step further: it begins, its probes start, they end, and it is removed when its time is over.
func (r *Reconciler) Reconcile(ctx context.Context, probeRun *kubeproberv1.ProbeRun) (ctrl.Result, error) {
	switch {
	case probeRun.DeletionTimestamp != nil:
		return ctrl.Result{}, nil
	case probeRun.Status.Phase == "":
		// The write wakes us.
		return ctrl.Result{}, ignoreOver(r.begin(ctx, probeRun))
	case probeRun.Status.Phase.Finished():
		return r.retire(ctx, probeRun)
	}
	groups, err := r.Runner.Runs(ctx, probeRun.UID)
	if err != nil {
		return ctrl.Result{}, err
	}
	var wake time.Duration
	for i := range probeRun.Status.Probes {
		recheck, err := r.advance(ctx, probeRun, &probeRun.Status.Probes[i], groups)
		if ignoreOver(err) != nil {
			return ctrl.Result{}, err
		}
		if recheck > 0 && (wake == 0 || recheck < wake) {
			wake = recheck
		}
	}
	return ctrl.Result{RequeueAfter: wake}, nil
}

// ignoreOver takes it as good news that the ProbeRun is gone.
func ignoreOver(err error) error {
	if errors.Is(err, record.ErrRunOver) {
		return nil
	}
	return err
}

// begin decides which probes the diagnosis runs.
func (r *Reconciler) begin(ctx context.Context, probeRun *kubeproberv1.ProbeRun) error {
	probes, err := r.probesOf(ctx, probeRun)
	if err != nil {
		return err
	}
	var entries []kubeproberv1.RunProbeStatus
	for _, p := range probes {
		entries = append(entries, kubeproberv1.RunProbeStatus{Name: p.Name, Phase: kubeproberv1.RunPending})
	}
	log.FromContext(ctx).Info("Beginning one-time diagnosis", "probes", len(entries))
	return r.Store.Begin(ctx, probeRun, entries, r.Clock.Now())
}

// probesOf are the probes that a ProbeRun names, or all Probes of the namespace.
func (r *Reconciler) probesOf(ctx context.Context, probeRun *kubeproberv1.ProbeRun) ([]kubeproberv1.RunProbe, error) {
	if len(probeRun.Spec.Probes) > 0 {
		return probeRun.Spec.Probes, nil
	}
	list := &kubeproberv1.ProbeList{}
	if err := r.Client.List(ctx, list, client.InNamespace(probeRun.Namespace)); err != nil {
		return nil, fmt.Errorf("listing Probes: %w", err)
	}
	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			names = append(names, list.Items[i].Name)
		}
	}
	slices.Sort(names)
	if len(names) > kubeproberv1.MaxRunProbes {
		log.FromContext(ctx).Info("Leaving out probes of one-time diagnosis", "probes", len(names), "most", kubeproberv1.MaxRunProbes)
		names = names[:kubeproberv1.MaxRunProbes]
	}
	probes := make([]kubeproberv1.RunProbe, 0, len(names))
	for _, name := range names {
		probes = append(probes, kubeproberv1.RunProbe{Name: name})
	}
	return probes, nil
}

// retire removes what a finished ProbeRun leaves behind, and the ProbeRun itself when its time is over.
func (r *Reconciler) retire(ctx context.Context, probeRun *kubeproberv1.ProbeRun) (ctrl.Result, error) {
	var wake time.Duration
	if ttl := probeRun.Spec.TTLSecondsAfterFinished; ttl != nil && probeRun.Status.FinishTime != nil {
		wake = probeRun.Status.FinishTime.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())
		if wake <= 0 {
			return ctrl.Result{}, r.delete(ctx, probeRun, "its time to live is over")
		}
	}
	if err := r.pruneJobs(ctx, probeRun); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: max(wake, 0)}, r.pruneRuns(ctx, probeRun.Namespace)
}

// pruneJobs removes the Jobs that one-time diagnoses have left of the probes of this one, but for the newest of each probe.
func (r *Reconciler) pruneJobs(ctx context.Context, probeRun *kubeproberv1.ProbeRun) error {
	own, err := r.Runner.Runs(ctx, probeRun.UID)
	if err != nil {
		return err
	}
	for _, g := range own {
		if err := r.Runner.Stop(ctx, g); err != nil {
			return err
		}
	}
	for i := range probeRun.Status.Probes {
		groups, err := r.Runner.OnceRuns(ctx, probeRun.Status.Probes[i].Name)
		if err != nil {
			return err
		}
		var recorded []runner.Group
		for _, g := range groups {
			over, err := r.isRecorded(ctx, g)
			if err != nil {
				return err
			}
			if over {
				recorded = append(recorded, g)
			}
		}
		if err := r.Runner.Prune(ctx, recorded); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) isRecorded(ctx context.Context, g runner.Group) (bool, error) {
	owner := run.OwnerOf(g.Jobs[0])
	other := &kubeproberv1.ProbeRun{}
	err := r.Client.Get(ctx, owner.NamespacedName, other)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading ProbeRun %s: %w", owner, err)
	}
	// The Jobs of one that is gone are for the garbage collector, or for package orphan.
	return err == nil && other.UID == owner.UID && other.Status.Phase.Finished(), nil
}

// pruneRuns removes the oldest finished ProbeRuns. Those that the master wrote are the master's to remove.
func (r *Reconciler) pruneRuns(ctx context.Context, namespace string) error {
	list := &kubeproberv1.ProbeRunList{}
	if err := r.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing ProbeRuns: %w", err)
	}
	var local, managed []*kubeproberv1.ProbeRun
	for i := range list.Items {
		one := &list.Items[i]
		switch {
		case !one.Status.Phase.Finished() || one.DeletionTimestamp != nil:
		case one.Labels[kubeproberv1.ManagedByLabel] == kubeproberv1.ManagedByMaster:
			managed = append(managed, one)
		default:
			local = append(local, one)
		}
	}
	return errors.Join(r.keepNewest(ctx, local, kubeproberv1.MaxProbeRuns), r.keepNewest(ctx, managed, maxManagedRuns))
}

func (r *Reconciler) keepNewest(ctx context.Context, runs []*kubeproberv1.ProbeRun, most int) error {
	// One order for all workers, whatever their caches hold: else each would find others to be the oldest.
	slices.SortFunc(runs, func(a, b *kubeproberv1.ProbeRun) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(b.Name, a.Name))
	})
	for _, old := range runs[min(most, len(runs)):] {
		if err := r.delete(ctx, old, "newer ones are kept"); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) delete(ctx context.Context, probeRun *kubeproberv1.ProbeRun, why string) error {
	log.FromContext(ctx).Info("Deleting ProbeRun", "ProbeRun", klog.KObj(probeRun), "reason", why)
	err := r.Client.Delete(ctx, probeRun, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &probeRun.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting ProbeRun %s: %w", klog.KObj(probeRun), err)
	}
	return nil
}
