// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package window makes a well-behaved net.Conn of a carrier that can only move bytes in
// each direction: flow control by credit, deadlines, half-close, and a close that is told
// apart from a carrier that broke off. It knows nothing of the carrier.
//
// A Conn has an application side, the net.Conn, and a carrier side: it sends by a Carrier
// and is fed what the carrier delivers. Being fed never waits for the application, so a
// carrier below is always drained, and what a Conn can hold is bounded by its window. Both
// ends start without credit and grant their window first thing.
//
// A window grows while it, and not the application, holds the sender back: a sender that
// used up its credit says so, and when the receiver then has nothing left to read, the
// way is longer than the window.
package window

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lingerTime is how long a closed Conn waits for its peer to close too.
	lingerTime = 10 * time.Second
	// creditStep is how much is granted at once at most, in bytes, so that a large window
	// is not a quarter smaller than it seems.
	creditStep = 256 << 10
)

var errLinger = errors.New("the peer did not answer the close of the stream in time")

// Carrier takes the frames of a Conn, and keeps their order.
type Carrier interface {
	// Send sends the parts as one and may wait for the network. It must not keep them.
	Send(parts ...[]byte) error
	// Cancel ends a Send that waits, and refuses further ones. It never waits.
	Cancel()
	// Expire, called with true, makes a Send that waits, or would have to, return
	// os.ErrDeadlineExceeded itself without having sent anything, until it is called with
	// false. It never waits.
	Expire(expired bool)
	// Post sends p, later when need be; it never waits, and must not keep p.
	Post(p []byte)
}

// Config sets up a Conn.
type Config struct {
	// Window is how many wire bytes the peer may send ahead of the application, at least
	// 4096, before the window has grown.
	Window int
	// MaxWindow bounds the growth. Default Window.
	MaxWindow int
	// Budget is shared by the Conns that may together hold a bounded number of bytes. May
	// be nil.
	Budget *Budget
	// Addr is what LocalAddr and RemoteAddr return.
	Addr net.Addr
	// OnDone is called once, when both ends have closed (nil) or the stream has failed. It
	// is called with locks held and must neither wait nor call the Conn. May be nil.
	OnDone func(error)
}

// Conn is one end of a stream. See the package's documentation.
type Conn struct {
	addr      net.Addr
	maxWindow int
	budget    *Budget
	onDone    func(error)

	writing sync.Mutex // held by Write, so that concurrent writes do not mix

	mu       sync.Mutex
	readable sync.Cond // the application may read
	writable sync.Cond // the application may write

	readDeadline, writeDeadline deadline

	decoder     decoder
	in          buffer
	held        atomic.Int64 // what the budget holds for this Conn
	window      int
	grown       int  // how much of the window the budget lent
	allowed     int  // wire bytes that the peer may still send
	owed        int  // wire bytes that were used up and not yet granted again
	peerBlocked bool // the peer has used up its credit and has more to send
	peerDone    bool // the peer sends no more data
	peerClosed  bool // the peer does not read any more either

	carrier     Carrier // nil until Start
	sending     bool    // Write is at the carrier; it sends the ends that are due after it
	credit      int     // wire bytes that we may still send
	toldBlocked bool    // the peer knows that there is more to send than credit
	done        bool    // CloseWrite or Close was called
	doneSent    bool
	closed      bool // Close was called
	closeSent   bool
	over        bool // onDone was called
	linger      *time.Timer

	err error // why the carrier is of no use any more
}

// New returns a Conn. It sends nothing until Start.
func New(config Config) *Conn {
	c := &Conn{
		addr:      config.Addr,
		window:    max(config.Window, 4096),
		maxWindow: max(config.Window, config.MaxWindow, 4096),
		budget:    config.Budget,
		onDone:    config.OnDone,

		toldBlocked: true, // the first credit is under way, whatever the window
	}
	c.readable.L, c.writable.L = &c.mu, &c.mu
	c.readDeadline.changed = func(bool) { c.readable.Broadcast() }
	c.writeDeadline.changed = func(expired bool) {
		c.writable.Broadcast()
		if c.carrier != nil {
			c.carrier.Expire(expired) // Write may wait there
		}
	}
	c.allowed = c.window
	return c
}

// Start gives the Conn what it sends by, and grants the peer its window. It must be
// called once. It returns false when the stream has failed before.
func (c *Conn) Start(carrier Carrier) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.carrier = carrier
	carrier.Expire(c.writeDeadline.expired)
	c.writable.Broadcast() // the peer's credit may have been here first
	c.budget.enter(c)
	c.post(kindCredit, c.window)
	c.sendEnds()
	return true
}

func (c *Conn) post(k kind, value int) {
	if c.carrier == nil || c.err != nil {
		return
	}
	var frame [headerSize]byte
	c.carrier.Post(appendHeader(frame[:0], k, value))
}

// finish tells, once, that the stream is over.
func (c *Conn) finish(err error) {
	if c.linger != nil {
		c.linger.Stop()
	}
	if c.over {
		return
	}
	c.over = true
	c.budget.settle(c)
	if c.onDone != nil {
		c.onDone(err)
	}
}

// Close implements net.Conn. What was written before is still sent, in the background.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed, c.done = true, true
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.drop()
	if c.err == nil && !c.over {
		c.linger = time.AfterFunc(lingerTime, func() { c.Fail(errLinger) })
	}
	c.wake()
	c.sendEnds()
	return nil
}

// Fail ends the stream with err on both sides, without telling the peer.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

func (c *Conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.finish(c.err)
	c.wake()
}

// drop forgets what was received and not read.
func (c *Conn) drop() {
	c.budget.leave(c)
	c.in.Reset()
}

func (c *Conn) wake() {
	c.readable.Broadcast()
	c.writable.Broadcast()
	if c.sending && (c.closed || c.peerClosed || c.err != nil) {
		c.carrier.Cancel()
	}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.addr }
