// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"
	"time"
)

const (
	// lookEvery is how often the wall clock is looked at. The timers of a process stand
	// still while the machine sleeps, and no event of every system tells that it did.
	lookEvery = 2 * time.Second
	// sleepTime is by how much the wall clock must be further than expected for the machine
	// to have slept, or the process to have been stopped. A shorter stop harms no tunnel.
	sleepTime = 8 * time.Second
	// probeTime is how long a hub may take to be heard after that. A clock that was merely
	// set costs a ping.
	probeTime = 5 * time.Second
)

// wakes tells who waits for it that the machine has slept. The zero value is ready.
type wakes struct {
	mu   sync.Mutex
	next chan struct{} // closed by the next wake
}

// wait returns what the next wake closes.
func (w *wakes) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil {
		w.next = make(chan struct{})
	}
	return w.next
}

func (w *wakes) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next != nil {
		close(w.next)
		w.next = nil
	}
}

// watch tells of each wake until ctx ends.
func (w *wakes) watch(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	w.follow(ctx, ticker.C, time.Now)
}

// follow looks at the clock at each tick.
func (w *wakes) follow(ctx context.Context, ticks <-chan time.Time, now func() time.Time) {
	wall := func() time.Time { return now().Round(0) } // without the reading of the clock that stands still
	for last := wall(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		at := wall()
		if at.Sub(last) >= lookEvery+sleepTime {
			w.tell()
		}
		last = at
	}
}
