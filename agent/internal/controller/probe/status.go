// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// updateStatus says in the Probe what has run and what comes next.
func (r *Reconciler) updateStatus(ctx context.Context, s *scope) error {
	if s.behind {
		return nil
	}
	before := s.probe.DeepCopy()
	status := &s.probe.Status
	status.ObservedGeneration = s.probe.Generation
	status.LastRunTime = timeOrNil(s.history.LastRun)
	status.LastRunGeneration = s.history.LastGeneration
	status.NextRunTime = timeOrNil(s.plan.Next)
	changed := meta.SetStatusCondition(&status.Conditions, scheduledCondition(s))
	if equality.Semantic.DeepEqual(before.Status, *status) {
		return nil
	}
	// Only this reconciler writes these fields, one Probe at a time.
	err := r.Client.Status().Patch(ctx, s.probe, client.MergeFrom(before), client.FieldOwner(fieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing status of Probe %s: %w", klog.KObj(s.probe), err)
	}
	if changed && s.invalid != nil {
		r.Recorder.Eventf(s.probe, nil, corev1.EventTypeWarning, kubeproberv1.ProbeInvalidPolicyReason, "ScheduleProbe",
			"Probe %s is not scheduled: %s", s.probe.Name, s.invalid.Error())
	}
	return nil
}

func scheduledCondition(s *scope) metav1.Condition {
	c := metav1.Condition{
		Type: kubeproberv1.ProbeScheduledCondition, Status: metav1.ConditionFalse, ObservedGeneration: s.probe.Generation,
	}
	if s.invalid != nil {
		c.Reason, c.Message = kubeproberv1.ProbeInvalidPolicyReason, s.invalid.Error()
		return c
	}
	c.Reason = s.plan.State
	switch s.plan.State {
	case kubeproberv1.ProbeActiveReason:
		c.Status, c.Message = metav1.ConditionTrue, "the probe runs by its policy"
	case kubeproberv1.ProbeSuspendedReason:
		c.Message = "the policy suspends the probe: no scheduled runs are started"
	case kubeproberv1.ProbeCompletedReason:
		c.Message = "the policy has no interval and no schedule, and the probe has run for this generation"
	}
	return c
}

func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	at := metav1.NewTime(t).Rfc3339Copy()
	return &at
}
