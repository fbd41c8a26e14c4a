// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun

import (
	"context"
	"errors"
	"fmt"
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

// advance hands the run over when that has not been done, and takes over what the managed cluster says of it.
func (r *Reconciler) advance(ctx context.Context, s *scope) error {
	if s.status.Phase == "" {
		s.status.Phase = kubeproberv1.RunPending
	}
	accepted := s.accepted()
	if name, ok := s.inlineSpec(); ok && !accepted {
		s.refuse(name)
		return nil
	}
	c, waits, err := r.reach(s)
	if err != nil || c == nil {
		if !accepted {
			s.wait(waits.reason, waits.message)
		}
		return err
	}
	copied := &kubeproberv1.ProbeRun{}
	err = c.Get(ctx, client.ObjectKey{Namespace: s.cluster.Status.ProbeNamespace, Name: s.run.Name}, copied)
	switch {
	case errors.Is(err, fleet.ErrNotConnected):
		// The source of the fleet wakes us when the tunnel is back.
		return nil
	case err == nil && copied.Annotations[fleet.OriginAnnotation] == string(s.run.UID):
		s.mirror(copied)
		return nil
	case err == nil && !accepted:
		s.wait(kubeproberv1.ProbeRunNameTakenReason, fmt.Sprintf("The managed cluster holds another ProbeRun %s; delete this one and create it with another name", s.run.Name))
		return nil
	case err == nil || apierrors.IsNotFound(err) && accepted:
		s.giveUp(kubeproberv1.ProbeRunDoneReason, "The run was deleted in the managed cluster")
		return nil
	case apierrors.IsNotFound(err):
		return r.handOver(ctx, s, c)
	default:
		if !accepted {
			s.wait(kubeproberv1.ProbeRunDisconnectedReason, r.failures.Steady(s.run.Name, s.status.Conditions, kubeproberv1.ProbeRunAcceptedCondition,
				kubeproberv1.ProbeRunDisconnectedReason, "The cluster does not answer: "+err.Error(), s.now))
		}
		return fmt.Errorf("reading ProbeRun %s of cluster %s: %w", s.run.Name, s.cluster.Name, err)
	}
}

// inlineSpec names a probe for which the run brings a spec of its own. The webhook refuses such runs, but it cannot while
// the master is down.
func (s *scope) inlineSpec() (name string, ok bool) {
	for _, probe := range s.run.Spec.Probes {
		if probe.Spec != nil {
			return probe.Name, true
		}
	}
	return "", false
}

// refuse ends a run that brings its own spec: what runs in managed clusters is decided by who may write Probes.
func (s *scope) refuse(name string) {
	message := fmt.Sprintf("spec.probes names %s with a spec of its own, which the master does not hand over: create a Probe, and a ProbeRun that names it", name)
	s.setCondition(kubeproberv1.ProbeRunAcceptedCondition, metav1.ConditionFalse, kubeproberv1.ProbeRunSpecNotAllowedReason, message)
	s.giveUp(kubeproberv1.ProbeRunSpecNotAllowedReason, message)
}

type waiting struct{ reason, message string }

// reach returns the client of the run's cluster, or what the run waits for.
func (r *Reconciler) reach(s *scope) (client.Client, waiting, error) {
	if s.cluster == nil || !s.cluster.DeletionTimestamp.IsZero() {
		// The watch on Clusters wakes us.
		return nil, waiting{kubeproberv1.ProbeRunClusterNotFoundReason, fmt.Sprintf("There is no Cluster %q: \"kubectl get clusters\" lists those that there are", s.run.Spec.ClusterName)}, nil
	}
	c, err := r.Fleet.Client(s.cluster.Name)
	switch {
	case errors.Is(err, fleet.ErrNotConnected):
		// The source of the fleet wakes us.
		return nil, waiting{kubeproberv1.ProbeRunDisconnectedReason, "Waiting for the tunnel of the cluster"}, nil
	case err != nil:
		return nil, waiting{kubeproberv1.ProbeRunDisconnectedReason, err.Error()}, err
	case s.cluster.Status.ProbeNamespace == "":
		// The watch on Clusters wakes us: the heartbeat is written into the status.
		return nil, waiting{kubeproberv1.ProbeRunDisconnectedReason, "Waiting for the first heartbeat of the agent"}, nil
	}
	return c, waiting{}, nil
}

// handOver creates the copy in the managed cluster. It is created once and never changed.
func (r *Reconciler) handOver(ctx context.Context, s *scope, c client.Client) error {
	probes, waits, err := r.resolve(ctx, s)
	if err != nil {
		return err
	}
	if len(probes) == 0 {
		s.wait(waits.reason, waits.message)
		return nil
	}
	copied := &kubeproberv1.ProbeRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   s.cluster.Status.ProbeNamespace,
			Name:        s.run.Name,
			Labels:      map[string]string{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster},
			Annotations: map[string]string{fleet.OriginAnnotation: string(s.run.UID)},
		},
		// The time to live is not handed over: the copy goes when the run of the master does, so that no result is lost.
		Spec: kubeproberv1.ProbeRunSpec{Probes: probes},
	}
	err = c.Create(ctx, copied, client.FieldOwner(fieldOwner))
	switch {
	case errors.Is(err, fleet.ErrNotConnected):
		s.wait(kubeproberv1.ProbeRunDisconnectedReason, "Waiting for the tunnel of the cluster")
		return nil
	case err != nil:
		s.wait(kubeproberv1.ProbeRunDisconnectedReason, r.failures.Steady(s.run.Name, s.status.Conditions, kubeproberv1.ProbeRunAcceptedCondition,
			kubeproberv1.ProbeRunDisconnectedReason, "The cluster does not take the run: "+err.Error(), s.now))
		return fmt.Errorf("creating ProbeRun %s in cluster %s: %w", s.run.Name, s.cluster.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("Handed a ProbeRun over", "Cluster", s.cluster.Name, "probes", len(probes))
	s.mirror(copied)
	return nil
}

// resolve fills in the probes: those that the run names, or all that are attached.
func (r *Reconciler) resolve(ctx context.Context, s *scope) ([]kubeproberv1.RunProbe, waiting, error) {
	named := s.run.Spec.Probes
	if len(named) == 0 {
		for _, name := range index.AttachedProbes(s.cluster) {
			named = append(named, kubeproberv1.RunProbe{Name: name})
		}
	}
	var probes []kubeproberv1.RunProbe
	var missing []string
	for _, want := range named {
		probe := &kubeproberv1.Probe{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.ProbeNamespace, Name: want.Name}, probe)
		if apierrors.IsNotFound(err) {
			missing = append(missing, want.Name)
			continue
		}
		if err != nil {
			return nil, waiting{}, fmt.Errorf("reading Probe %s: %w", want.Name, err)
		}
		want.Spec = &probe.Spec
		if probes = append(probes, want); len(probes) == kubeproberv1.MaxRunProbes {
			break
		}
	}
	switch {
	case len(s.run.Spec.Probes) > 0 && len(missing) > 0:
		// The watch on Probes wakes us.
		return nil, waiting{
			kubeproberv1.ProbeRunProbeNotFoundReason,
			fmt.Sprintf("Namespace %s has no Probe %s: \"kubectl get probes -n %s\" lists those that there are", r.ProbeNamespace, strings.Join(missing, ", "), r.ProbeNamespace),
		}, nil
	case len(probes) == 0:
		// The watch on Clusters wakes us when a label attaches one.
		return nil, waiting{
			kubeproberv1.ProbeRunNoProbesReason,
			fmt.Sprintf("No probe is attached: name one in spec.probes, or run \"kubectl label cluster %s %s=%s\"", s.cluster.Name, kubeproberv1.AttachLabel("<name>"), kubeproberv1.AttachLabelValue),
		}, nil
	}
	return probes, waiting{}, nil
}

func (s *scope) accepted() bool {
	return meta.IsStatusConditionTrue(s.status.Conditions, kubeproberv1.ProbeRunAcceptedCondition)
}

func (s *scope) wait(reason, message string) {
	s.setCondition(kubeproberv1.ProbeRunAcceptedCondition, metav1.ConditionFalse, reason, message)
	s.setCondition(kubeproberv1.ProbeRunFinishedCondition, metav1.ConditionFalse, kubeproberv1.ProbeRunInProgressReason, "Not taken by the cluster yet")
}

// mirror takes over what the managed cluster says of the run.
func (s *scope) mirror(copied *kubeproberv1.ProbeRun) {
	s.setCondition(kubeproberv1.ProbeRunAcceptedCondition, metav1.ConditionTrue, kubeproberv1.ProbeRunHandedOverReason, "The managed cluster has the run")
	said := copied.Status.DeepCopy()
	s.status.Phase, s.status.StartTime, s.status.FinishTime = said.Phase, said.StartTime, said.FinishTime
	s.status.Probes = said.Probes
	if s.status.Phase == "" {
		s.status.Phase = kubeproberv1.RunPending
	}
	if len(s.status.Probes) == 0 {
		for _, probe := range copied.Spec.Probes {
			s.status.Probes = append(s.status.Probes, kubeproberv1.RunProbeStatus{Name: probe.Name, Phase: kubeproberv1.RunPending})
		}
	}
	if s.status.Phase.Finished() {
		s.setCondition(kubeproberv1.ProbeRunFinishedCondition, metav1.ConditionTrue, kubeproberv1.ProbeRunDoneReason, "Every probe has ended")
		return
	}
	s.setCondition(kubeproberv1.ProbeRunFinishedCondition, metav1.ConditionFalse, kubeproberv1.ProbeRunInProgressReason, "Probes are running")
}

// giveUp ends a run without a verdict on everything. What is known is kept.
func (s *scope) giveUp(reason, message string) {
	finished := metav1.NewTime(s.now)
	s.status.Phase, s.status.FinishTime = kubeproberv1.RunIncomplete, &finished
	for i := range s.status.Probes {
		probe := &s.status.Probes[i]
		if probe.Phase.Finished() {
			continue
		}
		probe.Phase, probe.FinishTime, probe.Message = kubeproberv1.RunIncomplete, &finished, message
		if probe.Status == "" {
			probe.Status = kubeproberv1.CheckerUnknown
		}
	}
	s.setCondition(kubeproberv1.ProbeRunFinishedCondition, metav1.ConditionTrue, reason, message)
}

// expire gives a run up whose deadline has passed, and returns how long it may go on otherwise.
func (r *Reconciler) expire(ctx context.Context, s *scope) time.Duration {
	if s.status.Phase.Finished() {
		return 0
	}
	accepted := meta.FindStatusCondition(s.status.Conditions, kubeproberv1.ProbeRunAcceptedCondition)
	if !s.accepted() {
		left := s.run.CreationTimestamp.Add(acceptDeadline).Sub(s.now)
		if left > 0 {
			return left
		}
		message := fmt.Sprintf("The cluster did not take the run within %s", acceptDeadline)
		if accepted != nil {
			message += ": " + accepted.Message
		}
		s.setCondition(kubeproberv1.ProbeRunAcceptedCondition, metav1.ConditionFalse, kubeproberv1.ProbeRunExpiredReason, message)
		s.giveUp(kubeproberv1.ProbeRunExpiredReason, message)
		return 0
	}
	limit := r.timeout(ctx, s) + resultGrace
	if left := accepted.LastTransitionTime.Add(limit).Sub(s.now); left > 0 {
		return left
	}
	s.giveUp(kubeproberv1.ProbeRunExpiredReason, fmt.Sprintf("No result within %s", limit))
	return 0
}

// timeout is the longest that a probe of the run may take. A Probe that is gone by now counts with the default.
func (r *Reconciler) timeout(ctx context.Context, s *scope) time.Duration {
	var longest time.Duration
	for _, probe := range s.status.Probes {
		policy := kubeproberv1.ProbePolicy{}
		found := &kubeproberv1.Probe{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.ProbeNamespace, Name: probe.Name}, found); err == nil {
			policy = found.Spec.Policy
		}
		longest = max(longest, policy.Timeout())
	}
	return longest
}
