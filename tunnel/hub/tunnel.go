// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"

	"github.com/kubeprober/kubeprober/tunnel/internal/link"
	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
)

const (
	// stallTime is how long one write to a tunnel's socket may take.
	stallTime = 20 * time.Second
	// socketBuffer is the read buffer of a tunnel at the hub, in bytes. Large reads go
	// past it, so it is kept small for the many idle tunnels.
	socketBuffer = 512
	// websocketVersion is the only version of the protocol that there is.
	websocketVersion = "13"
	// idleStream is how long a pooled stream is kept without a request. It is shorter
	// than the agent's, so that no request meets a stream that is being closed.
	idleStream = 90 * time.Second
	// idleStreams is how many streams a tunnel's pool keeps without a request.
	idleStreams = 32
	// endTime is how long the agent may take to end a stream that both ends have closed.
	endTime = 5 * time.Second
)

// tunnel is one accepted connection of an agent.
type tunnel struct {
	id      Identity
	limits  Limits
	metrics *metrics
	since   time.Time // set before onReady

	transport *http.Transport // nil before the first request
	budget    *window.Budget
	onReady   func(*tunnel)
	onDown    func(*tunnel, error)

	socket *socket.Conn // set while the connection is upgraded, before onReady
	link   *link.Conn   // likewise
	// The session of remotedialer, set before onReady. Its server is not used: that prefers
	// dead sessions to new ones, and holds one lock across the writes of all.
	session *remotedialer.Session
	gone    chan struct{} // closed when the tunnel goes down

	mu       sync.Mutex
	closed   bool
	draining bool
	requests int // at work
	streams  map[*stream]struct{}

	workers sync.WaitGroup // all goroutines of this tunnel
}

func newTunnel(id Identity, limits Limits, metrics *metrics, onReady func(*tunnel), onDown func(*tunnel, error)) *tunnel {
	return &tunnel{
		id:      id,
		limits:  limits,
		metrics: metrics,
		budget:  window.NewBudget(limits.BufferedBytes),
		onReady: onReady,
		onDown:  onDown,
		gone:    make(chan struct{}),
	}
}

// pool returns the transport of the tunnel's requests, which an idle tunnel does without.
func (t *tunnel) pool() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.transport == nil {
		t.transport = &http.Transport{
			DialContext:         t.dialStream,
			MaxConnsPerHost:     t.limits.Streams,
			MaxIdleConnsPerHost: idleStreams,
			IdleConnTimeout:     idleStream,
			DisableCompression:  true, // bytes pass as they are
		}
	}
	return t.transport
}

// open makes conn, which was hijacked from the request with the given key, a tunnel and
// tells of it. It is to be served then.
func (t *tunnel) open(conn net.Conn, key string) error {
	ws, err := t.upgrade(conn, key)
	if err != nil {
		_ = conn.Close() // of no use
		return fmt.Errorf("upgrading the connection: %w", err)
	}
	// To remotedialer both ends of a tunnel may open streams, and its client's end is the
	// smaller one. Without an authorizer it lets the far end open none.
	t.session = remotedialer.NewClientSession(nil, ws)
	t.link.Start()
	t.since = time.Now()
	t.onReady(t)
	return nil
}

// serve serves the tunnel and returns when it has ended and all that it started has.
//
// It wants a goroutine of its own: what is on its stack, and how large that is, lasts as long
// as the tunnel.
func (t *tunnel) serve() error {
	// A client's end pings until its context ends. Here it is the agent who pings.
	_, err := t.session.Serve(ended())
	t.socket.Down(err)
	t.session.Close()
	t.link.Wait()
	t.workers.Wait()
	return t.socket.Cause()
}

// ended returns a context that has ended.
var ended = sync.OnceValue(func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
})

// writeBuffers are those of the websocket library, by all tunnels: an idle one needs none.
var writeBuffers sync.Pool

// upgrade answers the request with the given key and makes conn the tunnel's own.
//
// It gives the websocket library a request of its own: what the HTTP server keeps for a
// request must not last as long as a tunnel.
func (t *tunnel) upgrade(conn net.Conn, key string) (*websocket.Conn, error) {
	upgrader := websocket.Upgrader{
		WriteBufferPool: &writeBuffers,
		// A connection was hijacked: nothing can be answered any more.
		Error: func(http.ResponseWriter, *http.Request, int, error) {},
		// Agents are no browsers, and what they say of their origin proves nothing.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	return upgrader.Upgrade(&hijacked{conn: conn, wrap: t.take}, &http.Request{
		Method: http.MethodGet,
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-Websocket-Version": {websocketVersion},
			"Sec-Websocket-Key":     {key},
		},
	}, nil)
}

// take makes a hijacked connection the tunnel's own.
func (t *tunnel) take(conn net.Conn) (net.Conn, error) {
	if err := socket.Tune(conn, stallTime); err != nil {
		return nil, fmt.Errorf("tuning the connection: %w", err)
	}
	t.socket = socket.New(conn, t.limits.IdleTimeout, stallTime, t.down)
	if err := t.socket.Arm(); err != nil {
		return nil, fmt.Errorf("clearing the connection's deadlines: %w", err)
	}
	t.link = link.New(t.socket, link.Config{Role: link.Hub, MaxStreams: t.limits.Streams, Totals: &t.metrics.totals})
	return t.link, nil
}

// close ends the tunnel now; serve returns soon after.
func (t *tunnel) close(reason error) { t.socket.Abort(reason) }

// down ends all streams. The socket calls it before remotedialer learns that its
// connection is gone.
func (t *tunnel) down(cause error) {
	t.onDown(t, cause)
	t.mu.Lock()
	t.closed = true
	close(t.gone)
	var open []*stream
	for s := range t.streams {
		open = append(open, s)
	}
	transport := t.transport // one that is made later opens nothing
	t.mu.Unlock()
	for _, s := range open {
		s.conn.Fail(fmt.Errorf("the tunnel to cluster %s was lost: %w", t.id.Cluster, cause))
	}
	if transport != nil {
		transport.CloseIdleConnections()
	}
}

// hijacked lets the websocket library hijack a connection once more, with the tunnel's own wrapper
// on it.
type hijacked struct {
	conn net.Conn
	wrap func(net.Conn) (net.Conn, error)
}

// Hijack implements http.Hijacker.
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	wrapped, err := h.wrap(h.conn)
	if err != nil {
		return nil, nil, err
	}
	return wrapped, bufio.NewReadWriter(
		bufio.NewReaderSize(wrapped, socketBuffer), bufio.NewWriterSize(wrapped, 16)), nil // nothing uses the writer
}

// Header implements http.ResponseWriter; nothing is answered by it.
func (h *hijacked) Header() http.Header { return http.Header{} }

// Write implements http.ResponseWriter.
func (h *hijacked) Write([]byte) (int, error) { return 0, http.ErrHijacked }

// WriteHeader implements http.ResponseWriter.
func (h *hijacked) WriteHeader(int) {}
