// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestExpire(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	quick := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "quick"}}
	quick.Spec.Policy.TimeoutSeconds = new(int32(60))
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(quick).Build(), ProbeNamespace: "default"}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	condition := func(status metav1.ConditionStatus, ago time.Duration) metav1.Condition {
		return metav1.Condition{
			Type: kubeproberv1.ProbeRunAcceptedCondition, Status: status, Reason: kubeproberv1.ProbeRunDisconnectedReason,
			Message: "Waiting", LastTransitionTime: metav1.NewTime(now.Add(-ago)),
		}
	}
	pending := func(probe string) []kubeproberv1.RunProbeStatus {
		return []kubeproberv1.RunProbeStatus{
			{Name: probe, Phase: kubeproberv1.RunRunning},
			{Name: "ended", Phase: kubeproberv1.RunSucceeded, Status: kubeproberv1.CheckerPass},
		}
	}
	for _, test := range []struct {
		name      string
		age       time.Duration
		condition metav1.Condition
		probes    []kubeproberv1.RunProbeStatus
		left      time.Duration
		accepted  string
	}{
		{
			name: "a run that no cluster took yet waits until ten minutes after its creation", age: time.Minute,
			condition: condition(metav1.ConditionFalse, 0), left: 9 * time.Minute,
		},
		{
			name: "a run that no cluster took in ten minutes is given up", age: 10 * time.Minute,
			condition: condition(metav1.ConditionFalse, 0), accepted: kubeproberv1.ProbeRunExpiredReason,
		},
		{
			name: "a running one has its probe's timeout and five minutes", age: time.Hour, probes: []kubeproberv1.RunProbeStatus{{Name: "quick", Phase: kubeproberv1.RunRunning}},
			condition: condition(metav1.ConditionTrue, time.Minute), left: 5 * time.Minute,
		},
		{
			name: "a running one is given up after that, and what is known is kept", age: time.Hour, probes: pending("quick"),
			condition: condition(metav1.ConditionTrue, 35*time.Minute), accepted: kubeproberv1.ProbeRunDisconnectedReason,
		},
		{
			name: "a probe that is gone counts with the default timeout", age: time.Hour, probes: []kubeproberv1.RunProbeStatus{{Name: "missing", Phase: kubeproberv1.RunRunning}},
			condition: condition(metav1.ConditionTrue, 5*time.Minute), left: 30 * time.Minute,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Name: "1", CreationTimestamp: metav1.NewTime(now.Add(-test.age))}}
			s := &scope{run: run, now: now, status: kubeproberv1.ProbeRunStatus{
				Phase: kubeproberv1.RunPending, Probes: test.probes, Conditions: []metav1.Condition{test.condition},
			}}
			if left := r.expire(t.Context(), s); left != test.left {
				t.Fatalf("left = %s, want %s", left, test.left)
			}
			if expired := s.status.Phase == kubeproberv1.RunIncomplete; expired != (test.left == 0) {
				t.Fatalf("phase = %s with %s left", s.status.Phase, test.left)
			}
			if test.left > 0 {
				return
			}
			if got := meta.FindStatusCondition(s.status.Conditions, kubeproberv1.ProbeRunAcceptedCondition).Reason; got != test.accepted {
				t.Errorf("Accepted has reason %s, want %s", got, test.accepted)
			}
			if !meta.IsStatusConditionTrue(s.status.Conditions, kubeproberv1.ProbeRunFinishedCondition) || s.status.FinishTime == nil {
				t.Error("the run is not finished")
			}
			for _, probe := range s.status.Probes {
				if probe.Name == "ended" && (probe.Phase != kubeproberv1.RunSucceeded || probe.Status != kubeproberv1.CheckerPass) {
					t.Errorf("the result of a probe that had ended became %s %s", probe.Phase, probe.Status)
				}
				if probe.Name != "ended" && probe.Status != kubeproberv1.CheckerUnknown {
					t.Errorf("probe %s is %s, want UNKNOWN", probe.Name, probe.Status)
				}
			}
		})
	}
}
