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
