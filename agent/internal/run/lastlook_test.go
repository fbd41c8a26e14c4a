// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPodThatCannotStartIsGivenUpBeforeKubernetesRemovesIt(t *testing.T) {
	const grace = time.Minute
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	waiting := func(reason string, since time.Duration) *corev1.Pod {
		started := metav1.NewTime(now.Add(-since))
		return &corev1.Pod{Status: corev1.PodStatus{
			Phase: corev1.PodPending, StartTime: &started,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
			}},
		}}
	}
	homeless := &corev1.Pod{Status: corev1.PodStatus{
		Phase:      corev1.PodPending,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no node fits"}},
	}}

	for name, tt := range map[string]struct {
		pod     *corev1.Pod
		left    time.Duration
		ended   string
		recheck time.Duration
	}{
		"an image that cannot be pulled gets the grace":      {pod: waiting("ImagePullBackOff", 10*time.Second), left: time.Hour, recheck: 50 * time.Second},
		"it is given up after the grace":                     {pod: waiting("ImagePullBackOff", grace), left: time.Hour, ended: ReasonImagePull},
		"a deadline within the grace is looked at before":    {pod: waiting("ErrImagePull", 10*time.Second), left: 20 * time.Second, recheck: 20*time.Second - lastLook},
		"at the last look it is given up with its reason":    {pod: waiting("ErrImagePull", 10*time.Second), left: lastLook, ended: ReasonImagePull},
		"a name that is no image is given up at once":        {pod: waiting("InvalidImageName", time.Second), left: time.Hour, ended: ReasonImagePull},
		"a pod without a node is looked at before the end":   {pod: homeless, left: time.Minute, recheck: time.Minute - lastLook},
		"at the last look it is given up as unschedulable":   {pod: homeless, left: lastLook, ended: ReasonUnschedulable},
		"a container that is being created has all its time": {pod: waiting("ContainerCreating", 10*time.Second), left: time.Second, recheck: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			got := Assess(&batchv1.Job{}, tt.pod, now.Add(tt.left), now, grace)
			if got.Ended != (tt.ended != "") || got.Reason != tt.ended || got.Recheck != tt.recheck {
				t.Errorf("got ended %t for %q and recheck %s, want %q and %s", got.Ended, got.Reason, got.Recheck, tt.ended, tt.recheck)
			}
		})
	}
}

func TestANodeThatMayBeLostIsLookedAtAfterTheGrace(t *testing.T) {
	const grace = time.Minute
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pinned := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{NodeAnnotation: "a"}}}
	for name, tt := range map[string]struct {
		job      *batchv1.Job
		since    time.Duration
		homeless bool
		recheck  time.Duration
	}{
		"a pod that may go anywhere waits for room":      {job: &batchv1.Job{}, since: time.Hour, recheck: time.Hour - lastLook},
		"a pod of one node waits for the grace":          {job: pinned, since: 10 * time.Second, recheck: 50 * time.Second},
		"then its node is looked at, and again if ready": {job: pinned, since: grace, homeless: true, recheck: grace / 2},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(now.Add(-tt.since)),
			}}}}
			got := Assess(tt.job, pod, now.Add(time.Hour), now, grace)
			if got.Ended || got.Homeless != tt.homeless || got.Recheck != tt.recheck {
				t.Errorf("got ended %t, homeless %t and recheck %s, want %t and %s", got.Ended, got.Homeless, got.Recheck, tt.homeless, tt.recheck)
			}
		})
	}
}

func TestWhyNothingIsToBeExpectedOfANode(t *testing.T) {
	since := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	for want, conditions := range map[string][]corev1.NodeCondition{
		"": {{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		"not ready since 2026-01-01T12:00:00Z: NodeStatusUnknown: Kubelet stopped posting node status.": {{
			Type: corev1.NodeReady, Status: corev1.ConditionUnknown, LastTransitionTime: since,
			Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status.",
		}},
		"it has never been ready": nil,
	} {
		if got := LostBecause(&corev1.Node{Status: corev1.NodeStatus{Conditions: conditions}}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
