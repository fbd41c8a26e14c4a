// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"

	"github.com/kubeprober/kubeprober/tunnel/internal/link"
	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
)

// quiesceTime bounds how long a lost tunnel waits for its streams to stop writing.
const quiesceTime = 5 * time.Second

// maxBuffered is how much of what the hub sent a tunnel may hold unread, in bytes.
const maxBuffered = 64 << 20

// session is one tunnel, from the agent's side.
type session struct {
	listener *listener
	drained  chan<- time.Duration
	limit    int

	budget  *window.Budget
	socket  *socket.Conn
	link    *link.Conn
	release func() bool   // unties the socket from the agent's context
	over    chan struct{} // closed when remotedialer is done with the tunnel

	mu       sync.Mutex
	closed   bool
	carriers map[*carrier]struct{}
}

// session opens a tunnel and serves it until it is lost or ctx ends. It returns how long
// the tunnel lasted, 0 when there was none. When the hub says that it will stop, drained
// gets the time over which agents are to come back, at most once.
func (a *route) session(ctx context.Context, l *listener, drained chan<- time.Duration) (lasted time.Duration, err error) {
	s := &session{
		listener: l,
		drained:  drained,
		limit:    a.opts.MaxStreams,
		release:  func() bool { return true },
		over:     make(chan struct{}),
		carriers: map[*carrier]struct{}{},
		budget:   window.NewBudget(maxBuffered),
	}
	defer func() { s.release() }()
	ws, err := a.connect(ctx, s)
	if err != nil {
		return 0, err
	}
	start := time.Now()

	// The authorizer lets everything pass: its refusal would end the whole tunnel. The
	// dialer refuses one stream.
	accept := func(string, string) bool { return true }
	remote := remotedialer.NewClientSessionWithDialer(accept, ws, s.dial)
	// remotedialer's handlers set the websocket's write deadline while others write. The
	// socket has deadlines of its own, and whatever arrives extends them.
	ws.SetPongHandler(func(string) error { return nil })
	ws.SetPingHandler(nil)

	a.opts.Log.Info("Tunnel opened", "hub", a.url, "Cluster", a.opts.Cluster)
	woken := a.wakes.wait()
	var watcher sync.WaitGroup
	watcher.Go(func() { a.probeAfterSleep(s, ws, woken) })
	a.connected.Add(1)
	// The session ends with its socket, not with ctx: streams have to stop first.
	_, err = remote.Serve(context.WithoutCancel(ctx))
	a.connected.Add(-1)
	s.socket.Down(err)
	remote.Close()
	close(s.over)
	watcher.Wait()
	s.link.Wait()
	_ = ws.Close() // the socket is closed
	return time.Since(start), s.socket.Cause()
}

// probeAfterSleep asks the hub for a sign of life each time that the machine has slept, for
// less than the hub is else given: it may have closed the tunnel long ago.
func (a *route) probeAfterSleep(s *session, ws *websocket.Conn, woken <-chan struct{}) {
	for {
		select {
		case <-s.over:
			return
		case <-woken:
		}
		woken = a.wakes.wait()
		a.opts.Log.Info("The machine has slept, asking the hub for a sign of life", "hub", a.url, "within", probeTime.String())
		s.socket.Probe(probeTime)
		if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(probeTime)); err != nil {
			s.socket.Abort(fmt.Errorf("asking the hub for a sign of life: %w", err))
		}
	}
}

// take makes conn the session's socket, which ctx closes whatever is being done with it.
func (s *session) take(ctx context.Context, conn net.Conn) {
	s.socket = socket.New(conn, idleTime, stallTime, s.down)
	s.link = link.New(s.socket, link.Config{Role: link.Agent, MaxStreams: s.limit, OnDrain: s.onDrain})
	s.release = context.AfterFunc(ctx, func() { s.socket.Abort(ctx.Err()) })
}

func (s *session) onDrain(spread time.Duration) {
	select {
	case s.drained <- spread:
	default: // told before
	}
}

// dial answers the hub's wish for a stream. Only the one known target is ever accepted,
// and it is no address: nothing that comes from the wire is dialled.
func (s *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c := newCarrier(s)
	if err := s.enter(c, network == protocol.Network && address == protocol.KubeAPI); err != nil {
		return nil, s.failed(err)
	}
	if c.stream == nil {
		return c, nil
	}
	if err := s.listener.offer(ctx, c.stream); err != nil {
		_ = c.Close() // it returns no error
		return nil, s.failed(fmt.Errorf("the agent is shutting down: %w", err))
	}
	return c, nil
}

// failed returns err, the end of a dial: when the tunnel is going down only after remotedialer
// has closed all its connections. After a dial that failed remotedialer closes its end
// without a lock against that.
func (s *session) failed(err error) error {
	if s.isClosing() {
		<-s.over
	}
	return err
}

// enter books c, and gives it a stream or the reason why it is refused: the end of the tunnel
// finds it complete.
func (s *session) enter(c *carrier, known bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.New("the tunnel is closing")
	case !known:
		c.refusal = "no such target"
	case len(s.carriers) >= s.limit:
		c.refusal = fmt.Sprintf("%d streams are open already", s.limit)
	default:
		c.accept()
	}
	s.carriers[c] = struct{}{}
	return nil
}

// isClosing tells whether the tunnel is going down.
func (s *session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// abort ends a tunnel that cannot be written to.
func (s *session) abort(cause error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.socket.Abort(cause)
}

func (s *session) leave(c *carrier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.carriers, c)
}

// down ends all streams. The socket calls it before remotedialer learns that its
// connection is gone, and it returns when no stream writes any more: remotedialer closes
// its connections without a lock against their writers.
func (s *session) down(cause error) {
	s.mu.Lock()
	s.closed = true
	var open []*carrier
	for c := range s.carriers {
		c.fail(fmt.Errorf("the tunnel was lost: %w", cause))
		open = append(open, c)
	}
	s.mu.Unlock()
	timer := time.NewTimer(quiesceTime)
	defer timer.Stop()
	for _, c := range open {
		select {
		case <-c.closed:
		case <-c.quiet:
		case <-timer.C:
			return // the streams have failed, only the order of closing is lost
		}
	}
}
