// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heartbeat takes the heartbeats of agents, keeps the newest of each cluster in memory and wakes the controllers
// that a change concerns. It writes nothing: the cluster controller does.
package heartbeat

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
)

// RefreshInterval is how old the heartbeat time of a Cluster may get while nothing else changes.
const RefreshInterval = time.Minute

// Beat is the newest heartbeat of a cluster. It is shared: nobody may change what it points to.
type Beat struct {
	*heartbeat.Heartbeat
	// Received is when it arrived, by the master's clock.
	Received time.Time
}

// Store keeps the newest heartbeat of each cluster. All methods may be called at once.
type Store struct {
	mu       sync.Mutex
	beats    map[string]Beat
	told     map[string]time.Time
	clusters []func(cluster string)
	runs     []func(cluster, run string)
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{beats: map[string]Beat{}, told: map[string]time.Time{}}
}

// Latest returns the newest heartbeat of a cluster; ok is false when none was heard since the master started.
func (s *Store) Latest(cluster string) (beat Beat, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	beat, ok = s.beats[cluster]
	return beat, ok
}

// Forget drops what is known of a cluster.
func (s *Store) Forget(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.beats, cluster)
	delete(s.told, cluster)
}

// Put keeps a heartbeat and wakes the controllers when there is something to do: its content changed, the time that the
// Cluster shows is to be refreshed, the agent was late before, or a one-time diagnosis moved.
func (s *Store) Put(cluster string, beat *heartbeat.Heartbeat, now time.Time) {
	s.mu.Lock()
	previous, known := s.beats[cluster]
	s.beats[cluster] = Beat{Heartbeat: beat, Received: now}
	wake := !known || now.Sub(previous.Received) >= heartbeat.LateAfter || now.Sub(s.told[cluster]) >= RefreshInterval ||
		!sameState(previous.Heartbeat, beat)
	if wake {
		s.told[cluster] = now
	}
	var moved []string
	if !known {
		previous.Heartbeat = &heartbeat.Heartbeat{}
	}
	moved = movedRuns(previous.Runs, beat.Runs)
	clusters, runs := s.clusters, s.runs
	s.mu.Unlock()

	if wake {
		for _, f := range clusters {
			f(cluster)
		}
	}
	for _, run := range moved {
		for _, f := range runs {
			f(cluster, run)
		}
	}
}

// sameState tells whether two heartbeats say the same, their runs aside.
func sameState(a, b *heartbeat.Heartbeat) bool {
	x, y := *a, *b
	x.Runs, y.Runs = nil, nil
	return equality.Semantic.DeepEqual(x, y)
}

// movedRuns are the runs that changed from one heartbeat to the next, those that are gone included.
func movedRuns(previous, next []heartbeat.Run) []string {
	before := make(map[string]heartbeat.Run, len(previous))
	for _, run := range previous {
		before[run.ID] = run
	}
	var moved []string
	for _, run := range next {
		old, known := before[run.ID]
		if !known || old.ResourceVersion != run.ResourceVersion || old.Phase != run.Phase {
			moved = append(moved, run.ID)
		}
		delete(before, run.ID)
	}
	for id := range before {
		moved = append(moved, id)
	}
	return moved
}

// ClusterSource adds a Cluster to the queue of a controller when its heartbeat brought something new.
func (s *Store) ClusterSource() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clusters = append(s.clusters, func(cluster string) {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: cluster}})
		})
		return nil
	})
}

// RunSource adds the ProbeRun in namespace to the queue of a controller when a heartbeat tells that it moved.
func (s *Store) RunSource(namespace string) source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.runs = append(s.runs, func(_, run string) {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: run}})
		})
		return nil
	})
}
