// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// gate counts the connections that have not shown a request yet.
type gate struct {
	limit, perAddress int

	mu      sync.Mutex
	pending map[net.Conn]netip.Prefix
	sources map[netip.Prefix]int // pending ones by address
}

func newGate(l Limits) *gate {
	return &gate{
		limit:      l.Unauthenticated,
		perAddress: l.UnauthenticatedPerAddress,
		pending:    map[net.Conn]netip.Prefix{},
		sources:    map[netip.Prefix]int{},
	}
}

// enter books conn, or returns the reason why it may not stay.
func (g *gate) enter(conn net.Conn) (refused string) {
	address := source(conn.RemoteAddr().String())
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.pending) >= g.limit:
		return refusedPending
	case g.sources[address] >= g.perAddress:
		return refusedPendingPerAddress
	}
	g.pending[conn] = address
	g.sources[address]++
	return ""
}

// leave strikes conn, if it is booked.
func (g *gate) leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	address, booked := g.pending[conn]
	if !booked {
		return
	}
	delete(g.pending, conn)
	if g.sources[address]--; g.sources[address] == 0 {
		delete(g.sources, address)
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.pending)
}

// ConnState bounds the connections that are accepted and have not sent the header of a
// request yet: those in the TLS handshake too, which no handler sees. It is for the field
// of that name of the http.Server that the hub is mounted at:
//
//	server := &http.Server{Handler: mux, ConnState: h.ConnState, ReadHeaderTimeout: 5 * time.Second}
//
// A connection beyond Limits.Unauthenticated or Limits.UnauthenticatedPerAddress is closed.
// How long one may take is the server's ReadHeaderTimeout.
func (h *Hub) ConnState(conn net.Conn, state http.ConnState) {
	if state != http.StateNew {
		h.gate.leave(conn)
		return
	}
	if reason := h.gate.enter(conn); reason != "" {
		h.metrics.refused.WithLabelValues(reason).Inc()
		_ = conn.Close() // whoever it is learns no more
	}
}
