// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func newQueue() queue {
	return workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
}

// drain returns what a queue holds, sorted.
func drain(q queue) []string {
	var names []string
	for q.Len() > 0 {
		item, _ := q.Get()
		names = append(names, item.String())
		q.Done(item)
	}
	slices.Sort(names)
	return names
}

func TestStoreWakesControllersOnlyWhenThereIsSomethingToDo(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	steps := []struct {
		name     string
		after    time.Duration
		beat     heartbeat.Heartbeat
		clusters []string
		runs     []string
	}{
		{name: "the first heartbeat", beat: heartbeat.Heartbeat{NodeCount: 1}, clusters: []string{"/edge"}},
		{name: "the same again", after: 30 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 1}},
		{name: "the same after a minute, when the time is to be refreshed", after: time.Minute, beat: heartbeat.Heartbeat{NodeCount: 1}, clusters: []string{"/edge"}},
		{name: "another node", after: 61 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 2}, clusters: []string{"/edge"}},
		{name: "a result", after: 62 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 2, Probes: []kubeproberv1.ClusterProbeStatus{{Name: "k8s", Status: kubeproberv1.CheckerPass}}}, clusters: []string{"/edge"}},
		{name: "a new run moves the run and not the cluster", after: 63 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 2, Probes: []kubeproberv1.ClusterProbeStatus{{Name: "k8s", Status: kubeproberv1.CheckerPass}}, Runs: []heartbeat.Run{{ID: "1", ResourceVersion: "5"}}}, runs: []string{"default/1"}},
		{name: "a run that stands still", after: 64 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 2, Probes: []kubeproberv1.ClusterProbeStatus{{Name: "k8s", Status: kubeproberv1.CheckerPass}}, Runs: []heartbeat.Run{{ID: "1", ResourceVersion: "5"}}}},
		{name: "a run that is gone", after: 65 * time.Second, beat: heartbeat.Heartbeat{NodeCount: 2, Probes: []kubeproberv1.ClusterProbeStatus{{Name: "k8s", Status: kubeproberv1.CheckerPass}}}, runs: []string{"default/1"}},
	}
	store := NewStore()
	clusters, runs := newQueue(), newQueue()
	if err := store.ClusterSource().Start(t.Context(), clusters); err != nil {
		t.Fatal(err)
	}
	if err := store.RunSource("default").Start(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		beat := step.beat
		store.Put("edge", &beat, start.Add(step.after))
		if got := drain(clusters); !slices.Equal(got, step.clusters) {
			t.Errorf("%s: woke clusters %v, want %v", step.name, got, step.clusters)
		}
		if got := drain(runs); !slices.Equal(got, step.runs) {
			t.Errorf("%s: woke runs %v, want %v", step.name, got, step.runs)
		}
	}
}
