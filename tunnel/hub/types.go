// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

// ErrNotConnected is what a request gets (wrapped) when the cluster has no live tunnel.
var ErrNotConnected = errors.New("cluster is not connected")

// ErrRefused marks a Binder's error as meant for the agent: the tunnel is refused with
// 403 and the error's text.
var ErrRefused = errors.New("refused")

// Identity is what a connecting agent says of itself, after its secret was found right.
type Identity struct {
	// Cluster is the name of the cluster, a DNS label.
	Cluster string
	// UID is the UID of the kube-system namespace of that cluster.
	UID string
	// RemoteAddr is the address that the connection came from, host:port.
	RemoteAddr string
	// AgentVersion is free text of at most 128 bytes, empty when the agent did not say.
	AgentVersion string
}

// Binder ties cluster names to cluster identities.
type Binder interface {
	// Bind is called for every connecting agent, before its tunnel is accepted, and ends
	// with ctx. An error that is ErrRefused refuses the tunnel with 403 and its text; any
	// other error answers 503 with Retry-After and keeps the text in the hub's log.
	Bind(ctx context.Context, id Identity) error
}

// SecretSource returns the secrets that agents may present, one or more (two while one is
// being replaced). It is asked for each authentication and must not block.
type SecretSource func() [][]byte

// Event tells that a cluster got its first live tunnel or lost its last one.
type Event struct {
	Cluster    string
	Connected  bool
	Reason     string
	Time       time.Time
	RemoteAddr string
}

// Options configure a Hub. Zero values take the documented defaults.
type Options struct {
	// Secrets is required; a source without a secret, or with an empty one, is refused.
	Secrets SecretSource
	// Binder is required.
	Binder Binder
	// Locator finds the clusters whose tunnels end at other replicas. Nil when there are
	// none.
	Locator Locator
	Log     logr.Logger
	Limits  Limits
}

// Limits bound what agents can make the hub spend.
type Limits struct {
	// Streams is the most streams open at once on one tunnel. Default 512.
	Streams int
	// Tunnels is the most tunnels of one cluster; a further one replaces the oldest. Default 3.
	Tunnels int
	// BufferedBytes is the most that one tunnel may hold received and unread; past it the
	// stream that holds the most is reset. Default 64 MiB.
	BufferedBytes int
	// Unauthenticated is the most connections that have not shown a request yet, and
	// UnauthenticatedPerAddress the most of them from one address (of IPv6: one /64). More
	// are closed, by ConnState. Default 8192 and 4096.
	Unauthenticated, UnauthenticatedPerAddress int
	// Binds is the most connects with a right secret that are bound at once, and
	// BindsPerAddress the most of them from one address; more wait. Default 128 and 64.
	Binds, BindsPerAddress int
	// Waiting is the most connects that wait to be bound; more get 503 with Retry-After.
	// Default 16384.
	Waiting int
	// WaitTimeout is how long a connect may wait to be bound before it gets 503 with
	// Retry-After. Agents give up after 15 s. Default 10 s.
	WaitTimeout time.Duration
	// BindTimeout is how long Binder.Bind may take. Default 10 s.
	BindTimeout time.Duration
	// DialTimeout is how long the agent may take to answer a new stream. Default 5 s.
	DialTimeout time.Duration
	// IdleTimeout is how long a tunnel may be silent (agents ping every 5 s) before it is
	// held to be dead. Default 15 s, so that a cut cable is noticed within 20 s.
	IdleTimeout time.Duration
}

// AuthError says why an agent's request was refused and with which HTTP status. Its text
// is safe to send.
type AuthError struct {
	Status int
	Reason string
}

func (e *AuthError) Error() string { return e.Reason }

// Write answers w with the error's status and text.
func (e *AuthError) Write(w http.ResponseWriter) { http.Error(w, e.Reason, e.Status) }
