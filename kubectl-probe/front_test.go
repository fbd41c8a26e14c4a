// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const gatewayPrefix = "/apis/proxy.kubeprober.erda.cloud/v1"

// front is a TLS server that serves all of the real API server and, as an API server with the aggregated API does, the
// paths of the gateway. What is asked through the gateway goes to the same real API server, with credentials of its own.
// Whether the caller may use the gateway is asked of the real API server.
type front struct {
	server *httptest.Server
	// plain serves the gateway at the master's own address: /clusters/NAME/proxy/...
	plain *httptest.Server

	anonymous, admin *httputil.ReverseProxy
	upstream         *url.URL
	transport        http.RoundTripper

	mu sync.Mutex
	// down names the clusters without a tunnel.
	down map[string]bool
	// intercept may answer a request itself; it then returns true.
	intercept func(http.ResponseWriter, *http.Request) bool
	requests  []string
}

func newFront(config *rest.Config) (*front, error) {
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	admin, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	anonymous, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, err
	}
	f := &front{upstream: upstream, transport: anonymous, down: map[string]bool{}}
	f.anonymous, f.admin = f.proxy(anonymous), f.proxy(admin)
	f.server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	f.plain = httptest.NewServer(http.HandlerFunc(f.serveDirect))
	return f, nil
}

func (f *front) close() {
	f.server.Close()
	f.plain.Close()
}

func (f *front) url() string { return f.server.URL }

func (f *front) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
}

func (f *front) proxy(transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(f.upstream) },
	}
}

// set changes how the front answers, until the returned function is called.
func (f *front) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

// seen returns the requests since the last call.
func (f *front) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests := f.requests
	f.requests = nil
	return requests
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	intercept := f.intercept
	f.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	switch rest, ok := strings.CutPrefix(r.URL.Path, gatewayPrefix); {
	case ok && rest == "":
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}})
	case ok:
		f.gateway(w, r, strings.TrimPrefix(rest, "/clusters/"))
	default:
		f.anonymous.ServeHTTP(w, r)
	}
}

// serveDirect is the master's own address.
func (f *front) serveDirect(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/clusters/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, "direct "+r.Method+" "+r.URL.RequestURI())
	f.mu.Unlock()
	f.gateway(w, r, rest)
}

// gateway serves CLUSTER/proxy/PATH.
func (f *front) gateway(w http.ResponseWriter, r *http.Request, rest string) {
	cluster, path, ok := strings.Cut(rest, "/proxy/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	// The real API server refuses who may not do this, and answers 404 to who may: it serves no such API.
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, f.upstream.JoinPath(gatewayPrefix, "clusters", cluster, "proxy").String(), http.NoBody)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ask.Header.Set("Authorization", r.Header.Get("Authorization"))
	ask.Header.Set("Accept", "application/json")
	answer, err := f.transport.RoundTrip(ask)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusNotFound {
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
		return
	}
	f.mu.Lock()
	down := f.down[cluster]
	f.mu.Unlock()
	if down {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
			Message: fmt.Sprintf("cluster %q is not connected", cluster),
			Details: &metav1.StatusDetails{Group: "proxy.kubeprober.erda.cloud", Kind: "clusters", Name: cluster},
		})
		return
	}
	forwarded := r.Clone(r.Context())
	forwarded.Header.Del("Authorization")
	forwarded.URL.Path, forwarded.URL.RawPath = "/"+path, ""
	f.admin.ServeHTTP(w, forwarded)
}
