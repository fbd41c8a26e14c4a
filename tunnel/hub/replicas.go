// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
)

// Replica is another hub of the same fleet.
type Replica struct {
	// Name is unique among the replicas.
	Name string
	// URL is where the replica mounts its ForwardHandler: scheme, host and maybe a path.
	URL *url.URL
	// Transport reaches the replica, and proves to it who asks: the hub adds no
	// credentials. It should be one that is kept.
	Transport http.RoundTripper
}

// Locator knows where the tunnels of a fleet of hubs end.
type Locator interface {
	// Locate returns a replica, other than the one that asks, that has a live tunnel of
	// cluster. It is called for each request to a cluster without a tunnel here, and should
	// answer from memory. ok is false when no replica has one.
	Locate(ctx context.Context, cluster string) (replica Replica, ok bool)
}

// Headers of a request from one replica to another.
const (
	headerForward = "X-Kubeprober-Forward"
	// headerAbsent tells from an answer of the cluster that the replica has no tunnel.
	headerAbsent = "X-Kubeprober-Not-Connected"
)

// forward sends req to the replica that has a tunnel of cluster. ok is false when there
// is none: the request was not touched. It is HTTP that is forwarded, not a byte stream,
// and one hop only: ForwardHandler never asks a Locator.
func (h *Hub) forward(cluster string, req *http.Request) (resp *http.Response, ok bool, err error) {
	if h.opts.Locator == nil {
		return nil, false, nil
	}
	replica, found := h.opts.Locator.Locate(req.Context(), cluster)
	if !found {
		return nil, false, nil
	}
	out := req.Clone(req.Context())
	out.URL = replica.URL.JoinPath("/")
	out.URL.Path, out.URL.RawPath = out.URL.Path+trimSlash(req.URL.Path), ""
	if req.URL.RawPath != "" {
		out.URL.RawPath = replica.URL.JoinPath("/").EscapedPath() + trimSlash(req.URL.RawPath)
	}
	out.URL.RawQuery = req.URL.RawQuery
	out.Host = replica.URL.Host
	out.Header.Set(headerForward, cluster)
	resp, err = replica.Transport.RoundTrip(out)
	if err != nil {
		return nil, true, fmt.Errorf("forwarding to replica %s, which has cluster %s: %w", replica.Name, cluster, err)
	}
	if resp.Header.Get(headerAbsent) != "" {
		_ = resp.Body.Close() // it says no more
		return nil, true, fmt.Errorf("%w: %s: replica %s has lost its tunnel", ErrNotConnected, cluster, replica.Name)
	}
	resp.Request = req
	return resp, true, nil
}

func trimSlash(path string) string {
	if path != "" && path[0] == '/' {
		return path[1:]
	}
	return path
}

// ForwardHandler serves requests that other replicas forward, through the tunnels of this
// hub only. The caller mounts it behind an authentication of the replicas, and strips the
// path below which it is mounted.
func (h *Hub) ForwardHandler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", protocol.KubeAPI
			r.Out.Header.Del(headerForward)
		},
		Transport: localTransport{h}, // what has no length, as a watch has none, is flushed at once
		ErrorLog:  slog.NewLogLogger(logr.ToSlogHandler(h.opts.Log), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, ErrNotConnected) {
				w.Header().Set(headerAbsent, "true")
			}
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cluster := r.Header.Get(headerForward)
		if err := protocol.CheckClusterName(cluster); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), forwardKey{}, cluster)))
	})
}

type forwardKey struct{}

// localTransport sends to the cluster that ForwardHandler has read.
type localTransport struct{ hub *Hub }

// RoundTrip implements http.RoundTripper.
func (t localTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	cluster, _ := req.Context().Value(forwardKey{}).(string)
	resp, err := t.hub.local(cluster, req)
	if errors.Is(err, errUnsent) {
		closeBody(req)
	}
	return resp, err
}
