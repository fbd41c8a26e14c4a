// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package socket wraps the network connection of a tunnel at either end: it alone decides
// how long silence and a stalled write may last, it can be closed from outside at any
// time, and before its reader learns of a failure it lets the owner stop its writers. It
// knows nothing of what the bytes mean.
package socket

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a net.Conn whose deadlines are its own from Arm on.
type Conn struct {
	net.Conn

	idle, stall time.Duration
	onDown      func(error)

	armed atomic.Bool
	down  sync.Once
	room  func() bool // see HasRoom; nil before its first call

	mu    sync.Mutex
	cause error
}

// New wraps conn. Once armed, a read fails after idle of silence and a write after stall
// without its end, and onDown is called once, from the reader, after conn was closed and
// before the reader gets the error.
func New(conn net.Conn, idle, stall time.Duration, onDown func(error)) *Conn {
	return &Conn{Conn: conn, idle: idle, stall: stall, onDown: onDown}
}

// Arm makes the deadlines the wrapper's own.
func (c *Conn) Arm() error {
	c.armed.Store(true)
	return c.Conn.SetDeadline(time.Time{})
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.armed.Load() {
		return c.Conn.Read(p)
	}
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		c.Down(err)
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.Down(err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.armed.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	if err != nil && c.armed.Load() {
		c.Abort(err) // the reader takes it from here
	}
	return n, err
}

// HasRoom tells whether the network surely takes a write of at most 16 KiB without a wait;
// false when that cannot be known. It must not be called at the same time as itself or
// Write.
func (c *Conn) HasRoom() bool {
	if c.room == nil {
		c.room = roomOf(c.Conn)
	}
	return c.room()
}

func roomOf(conn net.Conn) func() bool {
	tcp := asTCP(conn)
	if tcp == nil {
		return func() bool { return false }
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	writable := false
	ask := func(fd uintptr) { writable = pollWritable(fd) } // made once: each call would cost an allocation
	return func() bool { return raw.Control(ask) == nil && writable }
}

// asTCP returns the TCP connection under conn, nil when there is none.
func asTCP(conn net.Conn) *net.TCPConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	tcp, _ := conn.(*net.TCPConn)
	return tcp
}

// Probe gives the far end no more than within from now to be heard, if it was not heard
// for long anyway; whatever arrives ends that. The caller makes it speak.
func (c *Conn) Probe(within time.Duration) {
	if !c.armed.Load() {
		return // the handshake has a deadline of its own
	}
	// A connection that is closed needs no deadline.
	_ = c.Conn.SetReadDeadline(time.Now().Add(within))
}

// Abort closes the connection and records why. The reader then fails.
func (c *Conn) Abort(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.Conn.Close() // nothing is left to save
}

// Down is Abort for the reader: it also calls onDown, once, and returns when that has.
func (c *Conn) Down(cause error) {
	c.Abort(cause)
	c.down.Do(func() { c.onDown(c.Cause()) })
}

// Cause returns why the connection was closed first, nil while it is open.
func (c *Conn) Cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.Abort(net.ErrClosed)
	return nil
}

// SetDeadline implements net.Conn; it does nothing once armed.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.armed.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn; it does nothing once armed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.armed.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn; it does nothing once armed.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.armed.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// Tune makes the kernel notice a dead peer: keepalive probes on an idle connection, and
// unacknowledged bytes for at most timeout where the system can do that. Connections that
// are not TCP are left as they are.
func Tune(conn net.Conn, timeout time.Duration) error {
	tcp := asTCP(conn)
	if tcp == nil {
		return nil
	}
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: timeout / 2, Interval: timeout / 4, Count: 3})
	if err != nil {
		return err
	}
	return setUserTimeout(tcp, timeout)
}
