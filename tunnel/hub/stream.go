// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/link"
	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
)

// errDial marks a stream that could not be opened: no byte of a request was sent on it.
var errDial = errors.New("opening a stream")

type target struct{}

func (target) Network() string { return protocol.Network }
func (target) String() string  { return protocol.KubeAPI }

// dialStream opens a stream to the agent's API server. The network and address that the
// HTTP transport asks for are ignored: a tunnel has one destination.
func (t *tunnel) dialStream(ctx context.Context, _, _ string) (net.Conn, error) {
	start := time.Now()
	conn, err := t.tryStream(ctx)
	t.metrics.dialed(start, err)
	if err != nil {
		return nil, fmt.Errorf("%w to cluster %s: %w", errDial, t.id.Cluster, err)
	}
	return conn, nil
}

// stream is a window.Conn and what carries it at the hub.
type stream struct {
	conn    *window.Conn
	carrier net.Conn // remotedialer's end: it opens and closes, the link carries
	way     *link.Stream

	greeting []byte // the answer so far, until it is complete
	started  bool   // the link's reader alone looks at it
	greeted  chan error
	ended    chan struct{} // closed when the agent has ended the stream
	once     sync.Once
}

func (t *tunnel) newStream() *stream {
	s := &stream{greeted: make(chan error, 1), ended: make(chan struct{})}
	s.conn = window.New(window.Config{
		Window:    protocol.Window,
		MaxWindow: protocol.MaxWindow,
		Budget:    t.budget,
		Addr:      target{},
		OnDone:    func(err error) { t.workers.Go(func() { t.finish(s, err) }) },
	})
	return s
}

func (t *tunnel) tryStream(ctx context.Context) (*window.Conn, error) {
	s := t.newStream()
	if err := t.enter(s); err != nil {
		return nil, err
	}
	defer t.workers.Done()
	ctx, cancel := context.WithTimeout(ctx, t.limits.DialTimeout)
	defer cancel()
	way, err := t.link.Bind(s, func() (err error) {
		s.carrier, err = t.session.Dial(ctx, protocol.Network, protocol.KubeAPI)
		return err
	})
	if err != nil {
		t.leave(s)
		return nil, err
	}
	err = s.await(ctx, t.gone)
	if err == nil && !t.begin(s, way) {
		err = ErrNotConnected
	}
	if err != nil {
		var refused *protocol.RefusedError
		t.workers.Go(func() {
			if errors.As(err, &refused) {
				t.metrics.refused.WithLabelValues(refusedByAgent).Inc()
				s.awaitEnd(t.gone)
			}
			_ = s.carrier.Close() // remotedialer's Close returns no error
			way.Unbind()
			t.leave(s)
		})
		return nil, err
	}
	return s.conn, nil
}

// await returns how the agent answered the opening of the stream.
func (s *stream) await(ctx context.Context, gone <-chan struct{}) error {
	select {
	case err := <-s.greeted:
		return err
	case <-gone:
		return ErrNotConnected
	case <-ctx.Done():
		return fmt.Errorf("the agent did not answer: %w", ctx.Err())
	}
}

// begin starts the stream. It returns false when it has failed already, as it does when
// the tunnel goes down.
func (t *tunnel) begin(s *stream, way *link.Stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !s.conn.Start(way) {
		return false
	}
	s.way = way
	t.workers.Add(1)
	return true
}

// finish cleans up after a stream, if it had begun.
func (t *tunnel) finish(s *stream, err error) {
	t.mu.Lock()
	begun := s.way != nil
	t.mu.Unlock()
	if !begun {
		return
	}
	defer t.workers.Done()
	t.metrics.streamFailed(err)
	if err == nil {
		s.awaitEnd(t.gone) // both ends have closed the stream
	}
	_ = s.carrier.Close()
	s.way.Unbind()
	t.leave(s)
}

// awaitEnd waits a while for the agent to end a carrier. It is the agent that ends it
// first: remotedialer closes a connection without a lock against its writers there.
func (s *stream) awaitEnd(gone <-chan struct{}) {
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-gone:
	case <-timer.C:
	}
}

// Feed implements link.Sink: first comes the preface.
func (s *stream) Feed(p []byte) {
	if s.started {
		_ = s.conn.Feed(p) // the stream has failed, and cleans up
		return
	}
	s.greeting = append(s.greeting, p...)
	rest, err := protocol.ParsePreface(s.greeting)
	if err == nil && rest == nil {
		return // more is to come
	}
	s.started, s.greeting = true, nil
	s.greeted <- err
	if err == nil {
		_ = s.conn.Feed(rest) // likewise
	}
}

// Reserve implements link.Sink.
func (s *stream) Reserve(n int) []byte {
	if !s.started {
		return nil
	}
	return s.conn.Reserve(n)
}

// Commit implements link.Sink.
func (s *stream) Commit(n int) { s.conn.Commit(n) }

// Ended implements link.Sink.
func (s *stream) Ended() {
	if !s.started {
		s.started = true
		s.greeted <- errors.New("the agent ended the stream")
	}
	s.conn.Ended(io.EOF)
	s.once.Do(func() { close(s.ended) })
}

// enter books s and a worker for its opening.
func (t *tunnel) enter(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrNotConnected
	}
	if len(t.streams) >= t.limits.Streams {
		t.metrics.refused.WithLabelValues(refusedStreams).Inc()
		return fmt.Errorf("%d streams are open already", len(t.streams))
	}
	if t.streams == nil {
		t.streams = map[*stream]struct{}{}
	}
	t.streams[s] = struct{}{}
	t.workers.Add(1)
	return nil
}

func (t *tunnel) leave(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, s)
}
