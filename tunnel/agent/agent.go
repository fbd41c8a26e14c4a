// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent is the end of a tunnel that dials out of a managed cluster. It keeps one
// tunnel to the hub, takes the streams that the hub opens to the one target that it
// knows, and serves HTTP on them with a handler that it is given. It knows nothing of what
// is asked through it.
//
// APIServer makes the handler for a Kubernetes API server.
package agent

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
	"github.com/kubeprober/kubeprober/tunnel/internal/remote"
)

const (
	// maxRequestHeader bounds the header of a request from the hub, in bytes.
	maxRequestHeader = 64 << 10
	// headerTime is how long a request's header may take to arrive once it began.
	headerTime = 30 * time.Second
	// idleStream is how long a stream is kept without a request. It is longer than the
	// hub's, so that the hub, which knows of requests under way, closes first.
	idleStream = 3 * time.Minute
	// healthyTime is how long a tunnel must last for the next reconnect to start afresh.
	healthyTime = time.Minute
)

// Options configure an Agent. HubURL, Cluster, UID, Secret and Target are required.
type Options struct {
	// HubURL is the address of the hub: http, https, ws or wss, host, port, and a path
	// only when the hub is served below one.
	HubURL string
	// MoreHubs are the addresses of further hubs, in the form of HubURL. The agent keeps a
	// tunnel to each of them, too.
	MoreHubs []string
	// Cluster is this cluster's name, a DNS label.
	Cluster string
	// UID is the UID of this cluster's kube-system namespace.
	UID string
	// Secret returns the secret to present. It is called for each connect.
	Secret func() ([]byte, error)
	// Version is free text of at most 128 bytes.
	Version string
	// Target answers the requests that come through the tunnel.
	Target http.Handler
	// RootCAs verify the hub's certificate; nil takes those of the system.
	RootCAs *x509.CertPool
	// ReadRootCAs, when it is set, takes the place of RootCAs. It is called for each connect.
	ReadRootCAs func() (*x509.CertPool, error)
	// PinnedKeys, if there are any, are what the public key of the hub's certificate must
	// be one of: base64 of the SHA-256 sum of its SubjectPublicKeyInfo, as in
	// "sha256//...". The certificate need not be signed by a known authority then, unless
	// RootCAs or ReadRootCAs are given.
	PinnedKeys []string
	// Proxy returns the proxy for a URL, nil for none: http, https or socks5, with a name
	// and a password if need be. Default: what HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the
	// environment say.
	Proxy func(*url.URL) (*url.URL, error)
	// Resolver resolves the names of hubs and proxies, anew for each connect. Default: that
	// of the system.
	Resolver *net.Resolver
	// MaxStreams is the most streams open at once. Default 1024.
	MaxStreams int
	Log        logr.Logger
}

// Agent keeps a tunnel to a hub.
type Agent struct {
	opts      Options
	routes    []*route
	connected atomic.Int32 // tunnels that are up
	wakes     wakes

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
}

// CheckOptions tells what is wrong with opts. It does not look at the UID, which may not
// be known as early as the rest.
func CheckOptions(opts Options) error {
	for _, address := range append([]string{opts.HubURL}, opts.MoreHubs...) {
		if _, err := connectURL(address); err != nil {
			return fmt.Errorf("reading the master's address: %w", err)
		}
	}
	if _, err := parsePins(opts.PinnedKeys); err != nil {
		return err
	}
	if opts.Proxy == nil {
		if _, err := environmentProxy(); err != nil {
			return err
		}
	}
	if err := protocol.CheckClusterName(opts.Cluster); err != nil {
		return err
	}
	if opts.Secret == nil || opts.Target == nil {
		return errors.New("creating the agent: a secret and a target are required")
	}
	return nil
}

// New checks the options and returns an Agent that does nothing until Run.
func New(opts Options) (*Agent, error) {
	if err := CheckOptions(opts); err != nil {
		return nil, err
	}
	if err := protocol.CheckUID(opts.UID); err != nil {
		return nil, err
	}
	remote.Harden()
	opts.MaxStreams = cmp.Or(opts.MaxStreams, 1024)
	pins, err := parsePins(opts.PinnedKeys)
	if err != nil {
		return nil, err
	}
	if opts.Proxy == nil {
		if opts.Proxy, err = environmentProxy(); err != nil {
			return nil, err
		}
	}
	a := &Agent{opts: opts}
	for _, address := range append([]string{opts.HubURL}, opts.MoreHubs...) {
		hub, err := connectURL(address)
		if err != nil {
			return nil, err
		}
		a.routes = append(a.routes, &route{Agent: a, url: hub, pins: pins})
	}
	return a, nil
}

// connectURL returns the websocket address that belongs to the hub's address.
func connectURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("%q does not start with http://, https://, ws:// or wss://", address)
	}
	if u.Hostname() == "" {
		return "", fmt.Errorf("%q names no host", address)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the address must be scheme, host, port and path only")
	}
	if !strings.HasSuffix(u.Path, protocol.ConnectPath) {
		u = u.JoinPath(protocol.ConnectPath)
	}
	return u.String(), nil
}

// Connected tells whether a tunnel is up.
func (a *Agent) Connected() bool { return a.connected.Load() > 0 }

// Run keeps a tunnel to each hub up until ctx ends, which is no error, and returns when all that it
// started has ended. It must be called once.
func (a *Agent) Run(ctx context.Context) error {
	listener := newListener()
	server := &http.Server{
		Handler:           http.HandlerFunc(a.serveHTTP),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleStream,
		MaxHeaderBytes:    maxRequestHeader,
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(a.opts.Log), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	var routes sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	var clock sync.WaitGroup
	clock.Go(func() { a.wakes.watch(ctx) })
	for _, r := range a.routes {
		routes.Go(func() { r.keepConnected(ctx, listener) })
	}
	routes.Wait()
	cancel()
	clock.Wait()

	err := server.Close() // the streams have failed with their tunnel
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.handlers.Wait()
	return err
}

// serveHTTP keeps count of the requests at work, hijacked ones too.
func (a *Agent) serveHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		http.Error(w, "the agent is shutting down", http.StatusServiceUnavailable)
		return
	}
	a.handlers.Add(1)
	a.mu.Unlock()
	defer a.handlers.Done()
	// The answer may begin before the request has ended: without this the server would
	// swallow the rest of the request's body first.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.opts.Target.ServeHTTP(w, r)
}
