// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import "time"

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
