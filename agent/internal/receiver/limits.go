// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
)

// Bounds of the reports of one run on one node: shell checkers send one for each of their results.
const (
	reportsPerSecond = 20
	reportsAtOnce    = 200
	// maxRuns whose rates are remembered; more than that can hardly report at once.
	maxRuns = 4096
)

// limits holds the rate of each run.
type limits struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	runs  *lru.Cache
}

func newLimits(c clock.PassiveClock) *limits { return &limits{clock: c, runs: lru.New(maxRuns)} }

// allow takes one report of a run into account; when it may not come yet, wait is after how many seconds it may.
func (l *limits) allow(claims *capability.Claims) (wait int, ok bool) {
	key := claims.RunID + "\x00" + claims.Node
	l.mu.Lock()
	defer l.mu.Unlock()
	var limiter *rate.Limiter
	if known, found := l.runs.Get(key); found {
		limiter, _ = known.(*rate.Limiter)
	} else {
		limiter = rate.NewLimiter(reportsPerSecond, reportsAtOnce)
		l.runs.Add(key, limiter)
	}
	now := l.clock.Now()
	reservation := limiter.ReserveN(now, 1)
	if delay := reservation.DelayFrom(now); delay > 0 {
		reservation.CancelAt(now)
		return int(math.Ceil(float64(delay) / float64(time.Second))), false
	}
	return 0, true
}
