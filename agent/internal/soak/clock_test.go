// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// steppedClock is a clock that somebody else sets. The delays of its queues follow it.
type steppedClock struct {
	mu     sync.Mutex
	now    time.Time
	alarms map[alarm]time.Time
}

type alarm struct {
	queue   *steppedQueue
	request reconcile.Request
}

func newSteppedClock(now time.Time) *steppedClock {
	return &steppedClock{now: now, alarms: map[alarm]time.Time{}}
}

func (c *steppedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *steppedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// set moves the clock, and adds to the queues what has come due.
func (c *steppedClock) set(now time.Time) {
	c.mu.Lock()
	c.now = now
	var ringing []alarm
	for a, at := range c.alarms {
		if !at.After(now) {
			ringing = append(ringing, a)
			delete(c.alarms, a)
		}
	}
	c.mu.Unlock()
	for _, a := range ringing {
		a.queue.Add(a.request)
	}
}

// ring adds a request after a delay; of several delays the shortest counts, as in any work queue.
func (c *steppedClock) ring(a alarm, delay time.Duration) {
	c.mu.Lock()
	at := c.now.Add(delay)
	if known, ok := c.alarms[a]; delay > 0 && (!ok || at.Before(known)) {
		c.alarms[a] = at
	}
	c.mu.Unlock()
	if delay <= 0 {
		a.queue.Add(a.request)
	}
}

// newQueue makes the queue of a controller.
func (c *steppedClock) newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	config := workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: name}
	return &steppedQueue{TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueueWithConfig(limiter, config), clock: c}
}

// steppedQueue delays by its clock. What failed is tried again in real time: the API server is real.
type steppedQueue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	clock *steppedClock
}

func (q *steppedQueue) AddAfter(request reconcile.Request, delay time.Duration) {
	q.clock.ring(alarm{q, request}, delay)
}

func TestTheQueueFollowsTheSteppedClock(t *testing.T) {
	start := time.Unix(1000, 0)
	clock := newSteppedClock(start)
	queue := clock.newQueue("test", workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	request := reconcile.Request{}
	request.Name = "a"
	queue.AddAfter(request, time.Minute)
	queue.AddAfter(request, 2*time.Minute)
	clock.set(start.Add(time.Minute - 1))
	if queue.Len() != 0 {
		t.Error("the request came before its time")
	}
	clock.set(start.Add(time.Minute))
	if queue.Len() != 1 {
		t.Error("the request did not come at its time")
	}
	queue.AddAfter(request, 0)
	if queue.Len() != 1 {
		t.Error("a request that waits was added twice")
	}
}
