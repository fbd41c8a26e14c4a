// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"time"
)

// TestClock is the time of a SecretFile in a test.
type TestClock struct{ now time.Time }

// NewTestClock takes over the time of f.
func NewTestClock(f *SecretFile) *TestClock {
	c := &TestClock{now: f.looked}
	f.now = func() time.Time { return c.now }
	return c
}

// Advance lets time pass.
func (c *TestClock) Advance(d time.Duration) { c.now = c.now.Add(d) }

// TestTurns are turns by themselves.
type TestTurns struct{ *turns }

// NewTestTurns returns turns with no connect.
func NewTestTurns(l Limits) TestTurns { return TestTurns{newTurns(l)} }

// Enter is turns.enter.
func (q TestTurns) Enter(ctx context.Context, remoteAddr string) (leave func(), err error) {
	return q.enter(ctx, remoteAddr)
}

// Waiting returns how many connects wait.
func (q TestTurns) Waiting() int { return q.waitingNow() }

// Lines returns how many addresses are remembered.
func (q TestTurns) Lines() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lines)
}
