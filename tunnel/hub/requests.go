// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
)

// roundTrip sends req to the API server of the agent. The tunnel is at work until the
// response's body is closed.
func (t *tunnel) roundTrip(req *http.Request) (*http.Response, error) {
	out := req.WithContext(req.Context()) // a copy, because the URL changes
	url := *req.URL
	url.Scheme, url.Host = "http", protocol.KubeAPI
	out.URL, out.Host = &url, protocol.KubeAPI
	t.working(1)
	resp, err := t.pool().RoundTrip(out)
	if err != nil {
		t.working(-1)
		return nil, err
	}
	resp.Request = req
	resp.Body = t.track(resp.Body)
	return resp, nil
}

// working books requests that begin or end.
func (t *tunnel) working(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests += n
	if t.requests == 0 && t.draining {
		t.idle()
	}
}

// drain calls idle as soon as the tunnel has nothing to do, at most once.
func (t *tunnel) drain(spread time.Duration) {
	t.link.NotifyDrain(spread)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	if t.requests == 0 {
		t.idle()
	}
}

// idle ends a tunnel that drains, once the agent was told.
func (t *tunnel) idle() { t.link.Finish(errDrained) }

var errDrained = errors.New("the hub drains")

// track returns body, which books the end of its request when it is closed.
func (t *tunnel) track(body io.ReadCloser) io.ReadCloser {
	tracked := &trackedBody{ReadCloser: body, end: sync.OnceFunc(func() { t.working(-1) })}
	if w, ok := body.(io.Writer); ok {
		return &trackedUpgrade{trackedBody: tracked, Writer: w}
	}
	return tracked
}

type trackedBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *trackedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// trackedUpgrade is the body of a 101 response.
type trackedUpgrade struct {
	*trackedBody
	io.Writer
}

// RoundTripper returns the way to the API server of cluster. It may be kept: each request
// takes the newest live tunnel of that moment, or the replica that has one, and fails with
// ErrNotConnected without either. Scheme and host of the URL are ignored. A 101 response
// has an io.ReadWriteCloser Body.
func (h *Hub) RoundTripper(cluster string) http.RoundTripper {
	return &roundTripper{hub: h, cluster: cluster}
}

type roundTripper struct {
	hub     *Hub
	cluster string
}

// RoundTrip implements http.RoundTripper.
func (rt *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := rt.hub.local(rt.cluster, req)
	if !errors.Is(err, ErrNotConnected) || !errors.Is(err, errUnsent) {
		return resp, err
	}
	if resp, ok, err := rt.hub.forward(rt.cluster, req); ok {
		return resp, err
	}
	closeBody(req)
	return nil, err
}

// errUnsent marks a request that was not looked at: its body is still open.
var errUnsent = errors.New("no request was sent")

// local sends req through a tunnel of this hub.
func (h *Hub) local(cluster string, req *http.Request) (*http.Response, error) {
	t := h.registry.newest(cluster)
	if t == nil {
		return nil, &unsentError{cluster}
	}
	resp, err := t.roundTrip(req)
	if !errors.Is(err, errDial) || req.Context().Err() != nil || req.Body != nil && req.Body != http.NoBody {
		return resp, err
	}
	// Nothing was sent, and there is no body that was closed: a tunnel that came up in the
	// meantime may do it.
	if newer := h.registry.newest(cluster); newer != nil && newer != t {
		return newer.roundTrip(req)
	}
	return nil, err
}

// unsentError is ErrNotConnected before anything was sent.
type unsentError struct{ cluster string }

func (e *unsentError) Error() string { return fmt.Sprintf("%v: %s", ErrNotConnected, e.cluster) }

// Is implements what errors.Is asks.
func (e *unsentError) Is(target error) bool { return target == ErrNotConnected || target == errUnsent }

// closeBody does what a RoundTripper owes even to a request that it does not send.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nobody reads it
	}
}
