// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backoff says how long to wait before the next attempt at something that failed.
// It knows nothing of what is attempted.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// First is the ceiling of the first wait.
	First = 500 * time.Millisecond
	// Longest is the ceiling that waits grow to.
	Longest = 30 * time.Second
)

// Backoff draws each wait from the whole range below a ceiling that doubles, so that many
// that failed at the same moment come back spread out. The zero value is ready.
type Backoff struct {
	ceiling time.Duration
}

// Reset makes the next wait a first one.
func (b *Backoff) Reset() { b.ceiling = 0 }

// Next returns how long to wait now.
func (b *Backoff) Next() time.Duration {
	b.ceiling = min(max(2*b.ceiling, First), Longest)
	return rand.N(b.ceiling)
}

// Sleep waits for d, and returns false when ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
