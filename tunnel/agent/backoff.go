// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	firstWait   = 500 * time.Millisecond
	longestWait = 30 * time.Second
	// longestAsked bounds the Retry-After that is honoured.
	longestAsked = 5 * time.Minute
)

// backoff says how long to wait before the next connect. The wait is drawn from the whole
// range below a ceiling that doubles: when a hub restarts, its agents come back spread
// out. The zero value is ready.
type backoff struct {
	ceiling time.Duration
}

func (b *backoff) reset() { b.ceiling = 0 }

// next returns the wait after err.
func (b *backoff) next(err error) time.Duration {
	b.ceiling = min(max(2*b.ceiling, firstWait), longestWait)
	var refused *refusedError
	if !errors.As(err, &refused) {
		return rand.N(b.ceiling)
	}
	if refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden {
		// Only a person can change that.
		return longestWait/2 + rand.N(longestWait/2)
	}
	asked := min(refused.retryAfter, longestAsked)
	return asked + rand.N(b.ceiling)
}
