// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

// copyBuffer is how much of a response is copied at once, in bytes: with the headers of
// the tunnel around it, it fills four TLS records.
const copyBuffer = 64<<10 - 64

// APIServer returns a handler that passes requests on to the API server of config, as the
// identity of config and no other: what a request says of its sender is taken out.
// Upgrades (exec, port-forward) and streams (watch, logs) pass through.
func APIServer(config *rest.Config, log logr.Logger) (http.Handler, error) {
	transport, err := newUpstream(config)
	if err != nil {
		return nil, fmt.Errorf("making a transport to the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Host = ""
			stripIdentity(r.Out.Header)
		},
		Transport: transport,
		// No FlushInterval: what has no length, as a watch or a log has none, is flushed at
		// once anyway, and to say so for all costs each answer a timer and a frame.
		BufferPool: &buffers{},
		ErrorLog:   slog.NewLogLogger(logr.ToSlogHandler(log), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				log.Error(err, "Passing on a request failed", "method", r.Method, "path", r.URL.Path)
			}
			http.Error(w, "the agent could not reach its API server: "+err.Error(), http.StatusBadGateway)
		},
	}, nil
}

// upstream sends requests over HTTP/2, when the API server speaks it, and upgrades, which
// need HTTP/1.1, on connections of their own.
type upstream struct {
	requests, upgrades http.RoundTripper
}

func newUpstream(config *rest.Config) (*upstream, error) {
	requests, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"}
	upgrades, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	return &upstream{requests: requests, upgrades: upgrades}, nil
}

// RoundTrip implements http.RoundTripper.
func (u *upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Upgrade") != "" {
		return u.upgrades.RoundTrip(req)
	}
	return u.requests.RoundTrip(req)
}

// tokenProtocol is how a websocket client of an API server passes a bearer token.
const tokenProtocol = "base64url.bearer.authorization.k8s.io."

// stripIdentity takes out every header by which an API server or a proxy in front of it
// might learn of another identity than the agent's own.
func stripIdentity(h http.Header) {
	for name := range h {
		lower := strings.ToLower(name)
		switch {
		case lower == "authorization", lower == "proxy-authorization", lower == "cookie",
			strings.HasPrefix(lower, "impersonate-"), strings.HasPrefix(lower, "x-remote-"):
			delete(h, name)
		}
	}
	const key = "Sec-Websocket-Protocol"
	var kept []string
	for _, line := range h[key] {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			if protocol != "" && !strings.HasPrefix(strings.ToLower(protocol), tokenProtocol) {
				kept = append(kept, protocol)
			}
		}
	}
	delete(h, key)
	if len(kept) > 0 {
		h[key] = []string{strings.Join(kept, ", ")}
	}
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, copyBuffer)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
