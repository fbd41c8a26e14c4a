// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/delay"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/wire"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	direct = "direct" // TLS to the backend
	hop    = "hop"    // TLS to the agent's proxy
	stock  = "stock"  // remotedialer as it is to the agent's proxy
	yamuxd = "yamux"  // yamux over wss to the agent's proxy
	ours   = "ours"   // hub and agent
	double = "ours-2" // two tunnels in turn; measured only when asked for

	// roundTrip is what the long paths add.
	roundTrip = 50 * time.Millisecond
	// unlimited is more than any sender has under way, in bytes.
	unlimited = 256 << 20
	// idleConns is how many connections a client keeps.
	idleConns = 64
	// connectTime is how long a tunnel may take to come up.
	connectTime = 20 * time.Second
)

var variantNames = []string{direct, hop, stock, yamuxd, ours}

// path is what lies between client and server, or agent and hub.
type path string

const (
	near path = "loopback"
	// far is a wire: TCP goes from end to end.
	far path = "50 ms"
	// relayed ends TCP next to either end, so that nothing but the processor holds a sender
	// back.
	relayed path = "50 ms, TCP ends on the way"
)

// host returns where the servers at the end of p listen.
func (p path) host() string {
	if p == far {
		return wire.Near
	}
	return site.Host
}

// variant is one way to the backend.
type variant struct {
	name string
	url  string
	http http.Client
}

// rig is everything that runs while it is measured.
type rig struct {
	material site.Material
	backend  *backend
	plain    *site.Server // the backend without TLS
	secure   *site.Server // the same with TLS
	hop      http.Handler // the agent's proxy in front of the backend

	ways map[path][]*variant

	closers []func() error
}

// newRig starts what cfg needs. The rig is to be closed even after an error.
func newRig(ctx context.Context, cfg config) (*rig, error) {
	r := &rig{backend: &backend{}, ways: map[path][]*variant{}}
	if slices.Contains(paths(cfg.cases), far) {
		long, err := wire.Open(roundTrip)
		if err != nil {
			return r, err
		}
		r.later(long.Close)
	}
	if err := r.serve(ctx, cfg.upstream); err != nil {
		return r, err
	}
	open := map[string]func(context.Context, path) (*variant, error){
		direct: r.direct, hop: r.proxied, stock: r.stock, yamuxd: r.yamux, ours: r.ours, double: r.double,
	}
	for _, p := range paths(cfg.cases) {
		for _, name := range cfg.variants {
			if p != near && (name == stock || name == yamuxd) {
				continue // their windows are known
			}
			v, err := open[name](ctx, p)
			if err != nil {
				return r, fmt.Errorf("setting up %s over %s: %w", name, p, err)
			}
			r.ways[p] = append(r.ways[p], v)
		}
	}
	return r, nil
}

// close ends everything, the last first.
func (r *rig) close() error {
	var errs []error
	for _, c := range slices.Backward(r.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

func (r *rig) later(c func() error) { r.closers = append(r.closers, c) }

// serve starts the backend and the hop in front of it.
func (r *rig) serve(ctx context.Context, upstream string) error {
	var err error
	if r.material, err = site.NewMaterial(wire.Far); err != nil {
		return err
	}
	config, err := r.material.Server()
	if err != nil {
		return err
	}
	address := net.JoinHostPort(site.Host, "0")
	if r.plain, err = site.Serve(ctx, address, r.backend.handler(), nil); err != nil {
		return err
	}
	r.later(r.plain.Close)
	if r.secure, err = site.Serve(ctx, address, r.backend.handler(), config); err != nil {
		return err
	}
	r.later(r.secure.Close)
	// Without TLS there is no HTTP/2, and client-go would keep two connections.
	pool := &http.Transport{MaxIdleConnsPerHost: idleConns, DisableCompression: true}
	r.later(func() error {
		pool.CloseIdleConnections()
		return nil
	})
	server := &rest.Config{Host: r.plain.URL, Transport: pool}
	if upstream == "https" {
		server = &rest.Config{Host: r.secure.URL, TLSClientConfig: rest.TLSClientConfig{CAData: r.material.CA}}
	}
	r.hop, err = agent.APIServer(server, logr.Discard())
	return err
}

// client returns a variant with a pooled HTTP/1.1 client. dial may be nil.
func (r *rig) client(name, url string, dial func(context.Context, string, string) (net.Conn, error)) (*variant, error) {
	config, err := r.material.Client()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     config,
		MaxIdleConnsPerHost: idleConns,
		DisableCompression:  true,
	}
	r.later(func() error {
		transport.CloseIdleConnections()
		return nil
	})
	return &variant{name: name, url: url, http: http.Client{Transport: transport}}, nil
}

func (r *rig) direct(ctx context.Context, p path) (*variant, error) {
	server, err := r.front(ctx, p, r.backend.handler())
	if err != nil {
		return nil, err
	}
	url, err := r.over(ctx, p, server.URL)
	if err != nil {
		return nil, err
	}
	return r.client(direct, url, nil)
}

func (r *rig) proxied(ctx context.Context, p path) (*variant, error) {
	server, err := r.front(ctx, p, r.hop)
	if err != nil {
		return nil, err
	}
	url, err := r.over(ctx, p, server.URL)
	if err != nil {
		return nil, err
	}
	return r.client(hop, url, nil)
}

// front serves handler with TLS at the end of p.
func (r *rig) front(ctx context.Context, p path, handler http.Handler) (*site.Server, error) {
	config, err := r.material.Server()
	if err != nil {
		return nil, err
	}
	server, err := site.Serve(ctx, net.JoinHostPort(p.host(), "0"), handler, config)
	if err != nil {
		return nil, err
	}
	r.later(server.Close)
	return server, nil
}

// over starts what p needs to target, a URL of https, and returns the URL of its near end.
func (r *rig) over(ctx context.Context, p path, target string) (string, error) {
	switch p {
	case far:
		return strings.Replace(target, wire.Near, wire.Far, 1), nil
	case relayed:
		relay, err := delay.Listen(ctx, site.Host, strings.TrimPrefix(target, "https://"), roundTrip/2, unlimited)
		if err != nil {
			return "", err
		}
		r.later(relay.Close)
		return "https://" + relay.Addr, nil
	}
	return target, nil
}

// ours opens a tunnel over p.
func (r *rig) ours(ctx context.Context, p path) (*variant, error) {
	const cluster = "edge"
	h, err := r.tunnels(ctx, p, cluster)
	if err != nil {
		return nil, err
	}
	return &variant{name: ours, url: "http://" + cluster, http: http.Client{Transport: h.RoundTripper(cluster)}}, nil
}

// double opens two tunnels over p, of which requests take one and the other.
func (r *rig) double(ctx context.Context, p path) (*variant, error) {
	const first, second = "edge-1", "edge-2"
	h, err := r.tunnels(ctx, p, first, second)
	if err != nil {
		return nil, err
	}
	turns := &inTurn{tunnels: [2]http.RoundTripper{h.RoundTripper(first), h.RoundTripper(second)}}
	return &variant{name: double, url: "http://" + first, http: http.Client{Transport: turns}}, nil
}

// inTurn sends requests through one tunnel and the other.
type inTurn struct {
	tunnels [2]http.RoundTripper
	next    atomic.Uint64
}

// RoundTrip implements http.RoundTripper.
func (t *inTurn) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.tunnels[t.next.Add(1)%2].RoundTrip(req)
}

// tunnels returns a hub with a tunnel over p for each of clusters.
func (r *rig) tunnels(ctx context.Context, p path, clusters ...string) (*hub.Hub, error) {
	h, err := site.NewHub()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(site.ConnectPath, h)
	server, err := r.front(ctx, p, mux)
	if err != nil {
		return nil, err
	}
	r.later(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer cancel()
		return h.Shutdown(ctx)
	})
	url, err := r.over(ctx, p, server.URL)
	if err != nil {
		return nil, err
	}
	roots, err := r.material.Roots()
	if err != nil {
		return nil, err
	}
	for _, cluster := range clusters {
		a, err := site.StartAgent(ctx, url, cluster, r.hop, roots, logr.Discard())
		if err != nil {
			return nil, err
		}
		r.later(a.Stop)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := site.AwaitClusters(ctx, h, len(clusters)); err != nil {
		return nil, fmt.Errorf("waiting for the agents: %w", err)
	}
	return h, nil
}
