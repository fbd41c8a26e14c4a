// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kubeprober/kubeprober/tunnel/internal/remote"
)

// retryAfter is how many seconds at least, and a third of how many at most, an agent is
// asked to wait when the hub cannot take it.
const retryAfter = 5

// Hub accepts tunnels and sends requests through them. All methods may be called at once.
type Hub struct {
	opts     Options
	registry *registry
	gate     *gate
	turns    *turns
	metrics  *metrics

	mu       sync.Mutex
	stopping bool
	spread   time.Duration  // over which agents are to come back
	active   sync.WaitGroup // calls of ServeHTTP, and tunnels
}

// New returns a hub that serves nothing until it is mounted. It refuses a missing Binder
// and a missing or empty secret.
func New(opts Options) (*Hub, error) {
	if opts.Secrets == nil || opts.Binder == nil {
		return nil, errors.New("creating the hub: a secret source and a binder are required")
	}
	if err := checkSecrets(opts.Secrets); err != nil {
		return nil, fmt.Errorf("creating the hub: %w", err)
	}
	remote.Harden()
	opts.Limits = opts.Limits.withDefaults()
	return &Hub{
		opts:     opts,
		registry: newRegistry(opts.Limits.Tunnels),
		gate:     newGate(opts.Limits),
		turns:    newTurns(opts.Limits),
		metrics:  newMetrics(),
	}, nil
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Streams:       cmp.Or(l.Streams, 512),
		Tunnels:       cmp.Or(l.Tunnels, 3),
		BufferedBytes: cmp.Or(l.BufferedBytes, 64<<20),
		Binds:         cmp.Or(l.Binds, 128),
		Waiting:       cmp.Or(l.Waiting, 16384),
		WaitTimeout:   cmp.Or(l.WaitTimeout, 10*time.Second),
		BindTimeout:   cmp.Or(l.BindTimeout, 10*time.Second),
		DialTimeout:   cmp.Or(l.DialTimeout, 5*time.Second),
		IdleTimeout:   cmp.Or(l.IdleTimeout, 15*time.Second),

		BindsPerAddress:           cmp.Or(l.BindsPerAddress, 64),
		Unauthenticated:           cmp.Or(l.Unauthenticated, 8192),
		UnauthenticatedPerAddress: cmp.Or(l.UnauthenticatedPerAddress, 4096),
	}
}

// ServeHTTP authenticates an agent, binds its name and takes its connection over as a
// tunnel, which lasts until it is lost or the hub is shut down. Mount it at
// /clusteragent/connect.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	done, ok := h.enter()
	if !ok {
		h.refuseStopping(w)
		return
	}
	taken := false
	defer func() {
		if !taken {
			done()
		}
	}()
	id, ok := h.admit(w, r)
	if !ok {
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.opts.Log.Error(err, "Taking over a connection failed", "remoteAddr", r.RemoteAddr)
		http.Error(w, "the connection could not be upgraded", http.StatusInternalServerError)
		return
	}
	if rw.Reader.Buffered() > 0 {
		_ = conn.Close() // refused, whatever it says
		return
	}
	t := newTunnel(id, h.opts.Limits, h.metrics, h.tunnelReady, h.tunnelDown)
	if err := t.open(conn, r.Header.Get("Sec-Websocket-Key")); err != nil {
		h.opts.Log.Info("Opening a tunnel failed", "Cluster", id.Cluster, "remoteAddr", id.RemoteAddr, "reason", err.Error())
		return
	}
	taken = true
	go func() {
		defer done()
		h.serve(t)
	}()
}

func (h *Hub) serve(t *tunnel) {
	err := t.serve()
	h.opts.Log.Info("Tunnel ended", "Cluster", t.id.Cluster, "remoteAddr", t.id.RemoteAddr, "reason", err.Error())
}

// isUpgrade tells whether r can become a websocket.
func isUpgrade(r *http.Request) bool {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	return r.Method == http.MethodGet && websocket.IsWebSocketUpgrade(r) && err == nil && len(key) == 16 &&
		r.Header.Get("Sec-Websocket-Version") == websocketVersion
}

// admit authenticates and binds, or answers why not.
func (h *Hub) admit(w http.ResponseWriter, r *http.Request) (Identity, bool) {
	log := h.opts.Log.WithValues("remoteAddr", r.RemoteAddr)
	id, err := h.Authenticate(r)
	var refused *AuthError
	if errors.As(err, &refused) {
		h.metrics.refused.WithLabelValues(refusalReason(refused)).Inc()
		log.Info("Refusing agent", "status", refused.Status, "reason", refused.Reason)
		w.Header().Set("Connection", "close") // it is to hold nothing
		refused.Write(w)
		return Identity{}, false
	}
	if !isUpgrade(r) {
		h.metrics.refused.WithLabelValues(refusedUpgrade).Inc()
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-Websocket-Version", websocketVersion)
		http.Error(w, "this is the endpoint of agents: it speaks websocket only", http.StatusUpgradeRequired)
		return Identity{}, false
	}
	leave, err := h.turns.enter(r.Context(), r.RemoteAddr)
	if err != nil {
		h.refuseWaiting(w, err)
		return Identity{}, false
	}
	defer leave()
	return id, h.bind(w, r, id)
}

// bind has the binder bind the name, or answers why it does not.
func (h *Hub) bind(w http.ResponseWriter, r *http.Request, id Identity) bool {
	log := h.opts.Log.WithValues("remoteAddr", r.RemoteAddr, "Cluster", id.Cluster)
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Limits.BindTimeout)
	defer cancel()
	switch err := h.opts.Binder.Bind(ctx, id); {
	case errors.Is(err, ErrRefused):
		h.metrics.refused.WithLabelValues(refusedIdentity).Inc()
		log.Info("Refusing agent", "status", http.StatusForbidden, "reason", err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
		return false
	case err != nil:
		h.metrics.refused.WithLabelValues(refusedBinder).Inc()
		log.Error(err, "Binding the cluster name failed")
		busy(w, "the cluster name could not be checked now")
		return false
	}
	return true
}

// refuseWaiting answers a connect whose turn did not come.
func (h *Hub) refuseWaiting(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errShuttingDown):
		h.refuseStopping(w)
	case errors.Is(err, errQueueFull):
		h.metrics.refused.WithLabelValues(refusedQueue).Inc()
		busy(w, err.Error())
	case errors.Is(err, errQueueTime):
		h.metrics.refused.WithLabelValues(refusedWait).Inc()
		busy(w, err.Error())
	default: // the agent is gone
	}
}

func refusalReason(err *AuthError) string {
	if err.Status == http.StatusUnauthorized {
		return refusedSecret
	}
	return refusedHeader
}

// busy answers an agent that may come back, at a time of its own.
func busy(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter+rand.N(2*retryAfter)))
	http.Error(w, text, http.StatusServiceUnavailable)
}

func (h *Hub) tunnelReady(t *tunnel) {
	replaced, ok := h.registry.add(t)
	if !ok {
		t.close(errShuttingDown)
		return
	}
	h.metrics.connects.Inc()
	h.opts.Log.Info("Tunnel opened", "Cluster", t.id.Cluster, "remoteAddr", t.id.RemoteAddr, "agentVersion", t.id.AgentVersion)
	for _, old := range replaced {
		h.registry.remove(old, "Replaced by a newer tunnel")
		old.close(errReplaced)
	}
}

func (h *Hub) tunnelDown(t *tunnel, cause error) {
	h.metrics.ended(cause)
	h.registry.remove(t, cause.Error())
}

// Authenticate checks the cluster name, secret and UID headers of an agent's request. The
// error is an *AuthError.
func (h *Hub) Authenticate(r *http.Request) (Identity, error) {
	return authenticate(r, h.opts.Secrets)
}

// Connected tells whether cluster has a live tunnel.
func (h *Hub) Connected(cluster string) bool { return h.registry.newest(cluster) != nil }

// Clusters returns the names of the connected clusters, sorted.
func (h *Hub) Clusters() []string { return h.registry.clusters() }

// Disconnect closes the sockets of cluster at once and tells whether there were any.
func (h *Hub) Disconnect(cluster, reason string) bool {
	tunnels := h.registry.of(cluster)
	for _, t := range tunnels {
		h.registry.remove(t, reason)
		t.close(&disconnectedError{reason})
	}
	return len(tunnels) > 0
}

// Subscribe calls f for each event, in order, one at a time, until unsubscribe is called
// or the hub is shut down. A slow f delays only itself; events of one cluster that it has
// not seen yet are coalesced to the newest. The clusters connected at the time of the call
// come first.
func (h *Hub) Subscribe(f func(Event)) (unsubscribe func()) { return h.registry.subscribe(f) }

// Shutdown refuses new tunnels, closes the live ones and waits for all that the hub
// started, at most until ctx ends.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	h.turns.stop()
	for _, t := range h.registry.close() {
		t.close(errShuttingDown)
	}
	done := make(chan struct{})
	go func() {
		h.active.Wait()
		h.registry.deliveries.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shutting down the hub: %w", ctx.Err())
	}
}
