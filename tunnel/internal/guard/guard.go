// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guard stands between the socket of a tunnel and the libraries that speak on it,
// at the hub. It follows the websocket frames in both directions and
//
//   - refuses what an agent has no reason to send: remotedialer's connects and peer
//     messages, unmasked or oversized messages;
//   - answers pings itself and keeps control frames from remotedialer, whose ping handler
//     sets a deadline without a lock while others write.
//
// It knows the framing and remotedialer's message header; it knows nothing of streams.
package guard

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

// Conn is a socket.Conn with a guard on it.
type Conn struct {
	*socket.Conn

	inbound inbound
	start   sync.Once
	onStart func()
	started atomic.Bool

	writing  sync.Mutex // held for each write to the socket
	outbound outbound

	mu   sync.Mutex
	pong []byte // the payload of the newest ping that has no answer yet; nil when none
}

// New puts a guard on conn. maxStreams bounds the list of streams that the agent sends
// from time to time. The guard takes all that is written before the first Read for the
// answer to the handshake; onStart is called by that Read.
func New(conn *socket.Conn, maxStreams int, onStart func()) *Conn {
	return &Conn{Conn: conn, inbound: newInbound(maxStreams), onStart: onStart}
}

var _ net.Conn = (*Conn)(nil)

// Read implements net.Conn. A violation ends the connection.
func (c *Conn) Read(p []byte) (int, error) {
	c.start.Do(func() {
		c.started.Store(true)
		c.onStart()
	})
	for {
		n, err := c.Conn.Read(p)
		kept, ping, bad := c.inbound.filter(p[:n])
		if bad != nil {
			c.Down(bad)
			return 0, bad
		}
		if ping != nil {
			c.answer(ping)
		}
		if kept > 0 || err != nil || len(p) == 0 {
			return kept, err
		}
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.started.Load() {
		return c.Conn.Write(p)
	}
	c.writing.Lock()
	n, err := c.Conn.Write(p)
	c.outbound.follow(p[:n])
	c.flushPong()
	c.writing.Unlock()
	c.retryPong()
	return n, err
}

// answer sends a pong at once, or leaves it to the writer that is at work.
func (c *Conn) answer(ping []byte) {
	c.mu.Lock()
	c.pong = ping
	c.mu.Unlock()
	c.retryPong()
}

// retryPong sends the waiting pong unless a writer is at work. A writer looks again after
// it let go, so that a pong cannot be left between the two.
func (c *Conn) retryPong() {
	c.mu.Lock()
	waiting := c.pong != nil
	c.mu.Unlock()
	if waiting && c.writing.TryLock() {
		c.flushPong()
		c.writing.Unlock()
	}
}

// flushPong sends the waiting pong if the stream of frames is between two. The caller
// holds writing.
func (c *Conn) flushPong() {
	if !c.outbound.between() {
		return // the write that ends the frame comes back here
	}
	c.mu.Lock()
	payload := c.pong
	c.pong = nil
	c.mu.Unlock()
	if payload == nil {
		return
	}
	frame := append([]byte{finalBit | opPong, byte(len(payload))}, payload...)
	// The socket reports a failed write to the reader.
	_, _ = c.Conn.Write(frame)
}
