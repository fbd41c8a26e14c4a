// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestUpdatesOfClustersThatWakeProbes(t *testing.T) {
	cluster := func(connected metav1.ConditionStatus, checkers string, held ...string) *kubeproberv1.Cluster {
		return &kubeproberv1.Cluster{Status: kubeproberv1.ClusterStatus{
			Checkers: checkers, AttachedProbes: held,
			Conditions: []metav1.Condition{{Type: kubeproberv1.ClusterConnectedCondition, Status: connected}},
		}}
	}
	for _, test := range []struct {
		name          string
		before, after *kubeproberv1.Cluster
		want          int
	}{
		{name: "results wake none", before: cluster(metav1.ConditionTrue, "1/0", "a"), after: cluster(metav1.ConditionTrue, "1/1", "a")},
		{name: "a copy that is gone wakes its Probe", before: cluster(metav1.ConditionTrue, "", "a"), after: cluster(metav1.ConditionTrue, ""), want: 1},
		{name: "a cluster that goes away wakes what it holds", before: cluster(metav1.ConditionTrue, "", "a", "b"), after: cluster(metav1.ConditionFalse, "", "a", "b"), want: 2},
		{name: "and so does one that comes back", before: cluster(metav1.ConditionFalse, "", "a"), after: cluster(metav1.ConditionTrue, "", "a"), want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			r := &Reconciler{ProbeNamespace: "default"}
			r.clusterHandler().Update(t.Context(), event.UpdateEvent{ObjectOld: test.before, ObjectNew: test.after}, queue)
			if got := queue.Len(); got != test.want {
				t.Errorf("woke %d Probes, want %d", got, test.want)
			}
		})
	}
}
