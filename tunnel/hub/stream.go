// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

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
	conn, err := t.tryStream(ctx)
	if err != nil && ctx.Err() == nil && !t.isClosed() {
		// Once a minute the agent lists its streams, and remotedialer closes the ones
		// that it opened after the list was made.
		conn, err = t.tryStream(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w to cluster %s: %w", errDial, t.id.Cluster, err)
	}
	return conn, nil
}

func (t *tunnel) tryStream(ctx context.Context) (*window.Conn, error) {
	stream := window.New(window.Config{Window: protocol.Window, Budget: t.budget, Addr: target{}})
	if err := t.enter(stream); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.limits.DialTimeout)
	defer cancel()
	carrier, err := t.server.Dialer(t.id.Cluster)(ctx, protocol.Network, protocol.KubeAPI)
	if err != nil {
		t.leave(stream)
		return nil, err
	}
	greeted := make(chan error, 1)
	received := make(chan struct{})
	giveUp := context.AfterFunc(ctx, func() { _ = carrier.Close() }) // ends the wait for the preface
	t.workers.Go(func() {
		defer close(received)
		t.receive(stream, carrier, greeted)
	})
	err = <-greeted
	if !giveUp() && err == nil {
		err = ctx.Err() // too late: the carrier is being closed
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("the agent did not answer: %w", ctx.Err())
		}
		var refused *protocol.RefusedError
		if errors.As(err, &refused) {
			awaitEnd(received)
		}
		_ = carrier.Close() // remotedialer's Close returns no error
		<-received
		t.leave(stream)
		return nil, err
	}
	if !t.startSender(stream, carrier, received) {
		_ = carrier.Close()
		<-received
		t.leave(stream)
		return nil, ErrNotConnected
	}
	return stream, nil
}

// receive waits for the preface, says how that went, and then feeds the stream.
func (t *tunnel) receive(stream *window.Conn, carrier net.Conn, greeted chan<- error) {
	rest, err := protocol.ReadPreface(carrier)
	greeted <- err
	if err != nil {
		_, _ = io.Copy(io.Discard, carrier) // to its end, which the dialer waits for
		return
	}
	if err := stream.Feed(rest); err != nil {
		return // the stream has failed, its sender cleans up
	}
	_ = stream.Receive(carrier) // likewise
}

// startSender starts what sends the stream's bytes and cleans up when it has ended. It
// returns false when the tunnel is going down.
func (t *tunnel) startSender(stream *window.Conn, carrier net.Conn, received <-chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.senders.Add(1)
	t.workers.Go(func() {
		err := stream.Send(carrier)
		t.senders.Done()
		if err == nil {
			awaitEnd(received) // both ends have closed the stream
		}
		_ = carrier.Close()
		<-received
		t.leave(stream)
	})
	return true
}

// awaitEnd waits a while for the agent to end a carrier. It is the agent that ends it
// first: remotedialer closes a connection without a lock against its writers there.
func awaitEnd(received <-chan struct{}) {
	timer := time.NewTimer(endTime)
	defer timer.Stop()
	select {
	case <-received:
	case <-timer.C:
	}
}

func (t *tunnel) enter(stream *window.Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrNotConnected
	}
	if len(t.streams) >= t.limits.Streams {
		return fmt.Errorf("%d streams are open already", len(t.streams))
	}
	t.streams[stream] = struct{}{}
	return nil
}

func (t *tunnel) leave(stream *window.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, stream)
}

func (t *tunnel) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}
