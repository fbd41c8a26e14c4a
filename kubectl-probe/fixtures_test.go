// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// ago is a time that kubectl shows as the same age for the whole length of a test.
func ago(age time.Duration) *metav1.Time {
	t := metav1.NewTime(time.Now().Add(-age))
	return &t
}

// longAgo is shown as 30h.
func longAgo() *metav1.Time { return ago(30*time.Hour + 30*time.Minute) }

// create makes an object with its status, and deletes it after the test.
func create[T client.Object](t *testing.T, object T, status func(T)) T {
	t.Helper()
	if err := suite.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.client.Delete(context.WithoutCancel(t.Context()), object); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	if status != nil {
		status(object)
		if err := suite.client.Status().Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	return object
}

// cluster makes a connected Cluster with attached probes that its agent holds.
func cluster(t *testing.T, name string, probes ...string) *kubeproberv1.Cluster {
	t.Helper()
	labels := map[string]string{}
	for _, probe := range probes {
		labels[kubeproberv1.AttachLabel(probe)] = kubeproberv1.AttachLabelValue
	}
	object := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	return create(t, object, func(c *kubeproberv1.Cluster) {
		c.Status.ProbeNamespace = agentNamespace
		c.Status.AgentVersion = "v9.9.9"
		c.Status.AttachedProbes = probes
		c.Status.HeartbeatTime = longAgo()
		c.Status.Conditions = []metav1.Condition{{
			Type: kubeproberv1.ClusterConnectedCondition, Status: metav1.ConditionTrue,
			Reason: kubeproberv1.ClusterTunnelUpReason, LastTransitionTime: *longAgo(),
		}}
	})
}

// probeStatus makes the results of a probe of the managed cluster.
func probeStatus(t *testing.T, name string, outcome kubeproberv1.ProbeOutcome) {
	t.Helper()
	object := &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: agentNamespace}}
	create(t, object, func(s *kubeproberv1.ProbeStatus) { s.Status = outcome })
}

func checker(name string, status kubeproberv1.CheckerStatus, message string) kubeproberv1.CheckerResult {
	return kubeproberv1.CheckerResult{Name: name, Status: status, Message: message, LastRun: longAgo()}
}

// outcomeOf is an outcome with the most severe status of its checkers.
func outcomeOf(checkers ...kubeproberv1.CheckerResult) kubeproberv1.ProbeOutcome {
	outcome := kubeproberv1.ProbeOutcome{LastRun: longAgo(), Checkers: checkers, Status: kubeproberv1.CheckerPass}
	for _, c := range checkers {
		outcome.Status = outcome.Status.Worst(c.Status)
	}
	return outcome
}

// probe makes a Probe.
func probe(t *testing.T, namespace, name string) {
	t.Helper()
	create(t, &kubeproberv1.Probe{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: kubeproberv1.ProbeSpec{Template: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "example.test/checker:v1"}}, RestartPolicy: corev1.RestartPolicyNever,
		}},
	}, nil)
}

// run makes a ProbeRun that is as far as status says.
func run(t *testing.T, namespace, id, clusterName string, status kubeproberv1.ProbeRunStatus, probes ...string) *kubeproberv1.ProbeRun {
	t.Helper()
	object := &kubeproberv1.ProbeRun{
		ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: namespace},
		Spec:       kubeproberv1.ProbeRunSpec{ClusterName: clusterName},
	}
	if clusterName != "" {
		object.Labels = map[string]string{kubeproberv1.ClusterLabel: clusterName}
	}
	for _, name := range probes {
		object.Spec.Probes = append(object.Spec.Probes, kubeproberv1.RunProbe{Name: name})
	}
	return create(t, object, func(r *kubeproberv1.ProbeRun) { r.Status = status })
}

// finished is the status of a run of one probe that has ended.
func finished(phase kubeproberv1.RunPhase, probe string, checkers ...kubeproberv1.CheckerResult) kubeproberv1.ProbeRunStatus {
	outcome := outcomeOf(checkers...)
	return kubeproberv1.ProbeRunStatus{
		Phase: phase, StartTime: longAgo(), FinishTime: longAgo(),
		Probes: []kubeproberv1.RunProbeStatus{{
			Name: probe, Phase: phase, Status: outcome.Status, StartTime: longAgo(), FinishTime: longAgo(), Checkers: checkers,
		}},
	}
}
