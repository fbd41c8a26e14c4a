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
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/delay"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
)

const (
	direct = "direct" // TLS to the backend
	hop    = "hop"    // TLS to the agent's proxy
	stock  = "stock"  // remotedialer as it is to the agent's proxy
	yamuxd = "yamux"  // yamux over wss to the agent's proxy
	ours   = "ours"   // hub and agent

	// roundTrip is what the long path adds.
	roundTrip = 50 * time.Millisecond
	// idleConns is how many connections a client keeps.
	idleConns = 64
	// connectTime is how long a tunnel may take to come up.
	connectTime = 20 * time.Second
)

var variantNames = []string{direct, hop, stock, yamuxd, ours}

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

	near []*variant
	far  []*variant // over the long path

	closers []func() error
}

// newRig starts what cfg needs. The rig is to be closed even after an error.
func newRig(ctx context.Context, cfg config) (*rig, error) {
	r := &rig{backend: &backend{}}
	if err := r.serve(ctx, cfg.upstream); err != nil {
		return r, err
	}
	open := map[string]func(context.Context) (*variant, error){
		direct: r.direct, hop: r.proxied, stock: r.stock, yamuxd: r.yamux,
		ours: func(ctx context.Context) (*variant, error) { return r.ours(ctx, 0, 0) },
	}
	for _, name := range cfg.variants {
		v, err := open[name](ctx)
		if err != nil {
			return r, fmt.Errorf("setting up %s: %w", name, err)
		}
		r.near = append(r.near, v)
	}
	if !slices.Contains(cfg.cases, "rtt50-1") {
		return r, nil
	}
	if slices.Contains(cfg.variants, direct) {
		v, err := r.farDirect(ctx, cfg.pathHold)
		if err != nil {
			return r, fmt.Errorf("setting up %s over the long path: %w", direct, err)
		}
		r.far = append(r.far, v)
	}
	if slices.Contains(cfg.variants, ours) {
		v, err := r.ours(ctx, roundTrip/2, cfg.pathHold)
		if err != nil {
			return r, fmt.Errorf("setting up %s over the long path: %w", ours, err)
		}
		r.far = append(r.far, v)
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
	if r.material, err = site.NewMaterial(); err != nil {
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
	server := &rest.Config{Host: r.plain.URL}
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

func (r *rig) direct(context.Context) (*variant, error) {
	return r.client(direct, r.secure.URL, nil)
}

func (r *rig) proxied(ctx context.Context) (*variant, error) {
	server, err := r.front(ctx, r.hop)
	if err != nil {
		return nil, err
	}
	return r.client(hop, server.URL, nil)
}

// front serves handler with TLS.
func (r *rig) front(ctx context.Context, handler http.Handler) (*site.Server, error) {
	config, err := r.material.Server()
	if err != nil {
		return nil, err
	}
	server, err := site.Serve(ctx, net.JoinHostPort(site.Host, "0"), handler, config)
	if err != nil {
		return nil, err
	}
	r.later(server.Close)
	return server, nil
}

// relay starts a long path to target, a URL of https, and returns the URL of its near end.
func (r *rig) relay(ctx context.Context, target string, hold int64, oneWay time.Duration) (string, error) {
	path, err := delay.Listen(ctx, site.Host, strings.TrimPrefix(target, "https://"), oneWay, hold)
	if err != nil {
		return "", err
	}
	r.later(path.Close)
	return "https://" + path.Addr, nil
}

func (r *rig) farDirect(ctx context.Context, hold int64) (*variant, error) {
	url, err := r.relay(ctx, r.secure.URL, hold, roundTrip/2)
	if err != nil {
		return nil, err
	}
	return r.client(direct, url, nil)
}

// ours opens a tunnel, with a path between agent and hub that takes oneWay if that is not 0.
func (r *rig) ours(ctx context.Context, oneWay time.Duration, hold int64) (*variant, error) {
	const cluster = "edge"
	h, err := site.NewHub()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(site.ConnectPath, h)
	server, err := r.front(ctx, mux)
	if err != nil {
		return nil, err
	}
	r.later(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTime)
		defer cancel()
		return h.Shutdown(ctx)
	})
	url := server.URL
	if oneWay > 0 {
		if url, err = r.relay(ctx, url, hold, oneWay); err != nil {
			return nil, err
		}
	}
	roots, err := r.material.Roots()
	if err != nil {
		return nil, err
	}
	a, err := site.StartAgent(ctx, url, cluster, r.hop, roots, logr.Discard())
	if err != nil {
		return nil, err
	}
	r.later(a.Stop)
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := site.AwaitClusters(ctx, h, 1); err != nil {
		return nil, fmt.Errorf("waiting for the agent: %w", err)
	}
	return &variant{name: ours, url: "http://" + cluster, http: http.Client{Transport: h.RoundTripper(cluster)}}, nil
}
