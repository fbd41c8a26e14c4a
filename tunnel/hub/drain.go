// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Drain prepares the hub to stop: it refuses further tunnels, tells the agents to come
// back at a time of their own within spread (at most ten minutes), and closes each tunnel
// as soon as no request runs on it. It returns when all are closed or ctx ends; what is
// left then ends with Shutdown. Requests are still served on the tunnels that are left.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) error {
	h.mu.Lock()
	h.stopping = true
	h.spread = spread
	h.mu.Unlock()
	h.turns.stop()
	tunnels := h.registry.drain()
	for _, t := range tunnels {
		t.drain(spread)
	}
	for left, t := range tunnels {
		select {
		case <-t.gone:
		case <-ctx.Done():
			return fmt.Errorf("draining the hub, %d tunnels are left: %w", len(tunnels)-left, ctx.Err())
		}
	}
	return nil
}

// refuseStopping answers an agent that comes while the hub stops, and spreads its return.
func (h *Hub) refuseStopping(w http.ResponseWriter) {
	h.metrics.refused.WithLabelValues(refusedStopping).Inc()
	h.mu.Lock()
	spread := h.spread
	h.mu.Unlock()
	seconds := retryAfter
	if more := int(spread.Seconds()); more > 0 {
		seconds += rand.N(more)
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	http.Error(w, "the hub is shutting down", http.StatusServiceUnavailable)
}

// enter books a call of ServeHTTP; leave must be called once unless it returns false.
func (h *Hub) enter() (leave func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return nil, false
	}
	h.active.Add(1)
	return sync.OnceFunc(h.active.Done), true
}
