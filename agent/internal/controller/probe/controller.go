// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probe runs the Probes of the agent's namespace by their policies. It decides when a run starts and records how it
// ended; how a run is made and judged is for package runner, when it is due for package schedule.
package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/agent/internal/metrics"
	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	"github.com/kubeprober/kubeprober/agent/internal/schedule"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	fieldOwner = "probe-agent"
	// maxSleep bounds how long a timer is trusted: it does not notice when the clock is set. Looking again costs no request.
	maxSleep = 10 * time.Minute
	// completedWithin is after how long a run is looked at again whose start was just completed.
	completedWithin = 100 * time.Millisecond
	workers         = 4
)

// Reconciler runs Probes.
//
// It observes Probes, their Jobs and the pods of these. It writes Jobs, the status of Probes and ProbeStatuses.
type Reconciler struct {
	Client client.Client
	// Live reads Probes from the API server and not from the cache.
	Live     client.Reader
	Runner   *runner.Runner
	Store    *record.Store
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
	// ClusterUID spreads the runs of a fleet.
	ClusterUID string
	// NewQueue makes the queue of the controller, whose delays must follow Clock; nil with the real clock.
	NewQueue func(controller string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// scope is what one reconciliation knows.
type scope struct {
	probe *kubeproberv1.Probe
	// outcome is the ProbeStatus as the cache has it; empty when there is none.
	outcome *kubeproberv1.ProbeOutcome
	// groups are the runs that have Jobs, the oldest first. Set by observe.
	groups []runner.Group
	// recorded are those whose end is recorded. Set by settleRuns.
	recorded []runner.Group
	// active is the run under way; nil when there is none. Set by settleRuns.
	active *runner.Group
	// history is what the schedule needs to know. Set by observe, and by start.
	history schedule.History
	// plan is what the schedule says. Set by decide; invalid is why it says nothing.
	plan    schedule.Plan
	invalid error
	// ended tells that the end of a run was recorded just now. Set by finish.
	ended bool
	// behind tells that the cache does not have the newest state of the Probe. Set by start.
	behind bool
	// wake is after how long to look again; 0 for never.
	wake time.Duration
}

func (s *scope) wakeWithin(d time.Duration) {
	if d > 0 && (s.wake == 0 || d < s.wake) {
		s.wake = d
	}
}

// SetupWithManager starts the reconciler with a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Live == nil || r.Runner == nil || r.Store == nil || r.Recorder == nil || r.Metrics == nil || r.Clock == nil || r.ClusterUID == "" {
		return errors.New("setting up the controller of Probes: a field of the Reconciler is not set")
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("probe").
		// Its own writes wake it as well: start waits for them to come into the cache.
		For(&kubeproberv1.Probe{}).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(runner.OwnerOfJob("Probe"))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.Runner.OwnerOfPod("Probe"))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, NewQueue: r.NewQueue}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), r))
	if err != nil {
		return fmt.Errorf("setting up the controller of Probes: %w", err)
	}
	return nil
}

// Reconcile records runs that have ended, starts one that is due, and says in the status what comes next.
func (r *Reconciler) Reconcile(ctx context.Context, probe *kubeproberv1.Probe) (ctrl.Result, error) {
	if probe.DeletionTimestamp != nil {
		// The garbage collector, and package orphan, remove Jobs, pods and the ProbeStatus with their owner.
		return ctrl.Result{}, nil
	}
	s := &scope{probe: probe}
	phases := []func(context.Context, *scope) error{
		r.observe,
		r.settleRuns,
		r.settleVanished,
		r.restate,
		r.decide,
		r.start,
		r.updateStatus,
		r.prune,
	}
	for _, phase := range phases {
		if err := phase(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	if s.wake > 0 {
		return ctrl.Result{RequeueAfter: min(s.wake, maxSleep)}, nil
	}
	// A change of the Probe, of a Job or of a pod wakes us.
	return ctrl.Result{}, nil
}
