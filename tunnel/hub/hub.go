// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"net/http"
)

// Hub accepts tunnels and sends requests through them. All methods may be called at once.
type Hub struct{ opts Options }

// New returns a hub that serves nothing until it is mounted. It refuses a missing Binder
// and a missing or empty secret.
func New(opts Options) (*Hub, error) {
	if opts.Secrets == nil || opts.Binder == nil {
		return nil, errors.New("creating the hub: a secret source and a binder are required")
	}
	return &Hub{opts: opts}, nil
}

// ServeHTTP authenticates an agent, binds its name, upgrades the connection to a tunnel
// and serves it until it ends. Mount it at /clusteragent/connect.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "not serving", http.StatusServiceUnavailable)
}

// Authenticate checks the cluster name, secret and UID headers of an agent's request. The
// error is an *AuthError.
func (h *Hub) Authenticate(r *http.Request) (Identity, error) {
	return Identity{}, &AuthError{Status: http.StatusUnauthorized, Reason: "not serving"}
}

// Connected tells whether cluster has a live tunnel.
func (h *Hub) Connected(cluster string) bool { return false }

// RoundTripper returns the way to the API server of cluster. It may be kept: each request
// takes the newest live tunnel of that moment, and fails with ErrNotConnected without one.
// Scheme and host of the URL are ignored. A 101 response has an io.ReadWriteCloser Body.
func (h *Hub) RoundTripper(cluster string) http.RoundTripper { return nil }

// Disconnect closes the sockets of cluster at once and tells whether there were any.
func (h *Hub) Disconnect(cluster, reason string) bool { return false }

// Subscribe calls f for each event, in order, one at a time, until unsubscribe is called.
// A slow f delays only itself; events of one cluster that it has not seen yet are
// coalesced to the newest. The clusters connected at the time of the call come first.
func (h *Hub) Subscribe(f func(Event)) (unsubscribe func()) { return func() {} }

// Clusters returns the names of the connected clusters, sorted.
func (h *Hub) Clusters() []string { return nil }

// Shutdown refuses new tunnels, closes the live ones and waits for all that the hub
// started, at most until ctx ends.
func (h *Hub) Shutdown(ctx context.Context) error { return nil }
