// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import "sync"

// slots bound how many reconciles wait for managed clusters at once. There are fewer of them than workers, so that
// clusters which hang keep no results of the others from being written. All methods may be called at once.
type slots struct {
	mu   sync.Mutex
	free int
	// wake adds a cluster to the queue of the controller.
	wake func(cluster string)
	// waiting are in order; they are woken one by one as slots become free.
	waiting []string
	waits   map[string]bool
	// offered are the clusters that were woken, each with a slot of its own.
	offered map[string]bool
}

func newSlots(count int) *slots {
	return &slots{free: count, wake: func(string) {}, waits: map[string]bool{}, offered: map[string]bool{}}
}

// onFree sets what wakes a cluster.
func (s *slots) onFree(wake func(cluster string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

// take returns false when there is no slot; the cluster is woken when there is one for it.
func (s *slots) take(cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.offered[cluster]:
		delete(s.offered, cluster)
	case s.free > 0:
		s.free--
	default:
		if !s.waits[cluster] {
			s.waits[cluster] = true
			s.waiting = append(s.waiting, cluster)
		}
		return false
	}
	return true
}

// give gives a slot back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass()
}

// pass hands a slot on. The caller holds mu. The queue does not wait.
func (s *slots) pass() {
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	next := s.waiting[0]
	s.waiting = s.waiting[1:]
	delete(s.waits, next)
	s.offered[next] = true
	s.wake(next)
}

// isOffered tells whether the cluster was woken for a slot that it has not taken.
func (s *slots) isOffered(cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offered[cluster]
}

// decline hands on what the cluster was offered and did not take.
func (s *slots) decline(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offered[cluster] {
		delete(s.offered, cluster)
		s.pass()
	}
}
