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
	"fmt"
	"io"
	"net"
	"os"
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

// Read implements net.Conn. It returns io.EOF only when the peer closed its side; a
// carrier that broke off gives another error.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case c.in.Len() > 0:
			n := c.in.Read(p)
			c.consumed(n)
			return n, nil
		case c.peerDone:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.err
		}
		c.readable.Wait()
	}
}

// consumed takes note that the application read n bytes.
func (c *Conn) consumed(n int) {
	c.budget.add(c, -n)
	c.owe(n)
}

func (c *Conn) owe(n int) {
	c.owed += n
	if c.peerDone || c.closed || c.carrier == nil {
		return
	}
	if c.peerBlocked && c.in.Len() == 0 && c.window < c.maxWindow {
		c.peerBlocked = false
		c.grow()
	}
	if c.owed >= min(c.window/4, creditStep) {
		c.post(kindCredit, c.owed)
		c.allowed += c.owed
		c.owed = 0
	}
}

// grow doubles the window, when the budget has room for that.
func (c *Conn) grow() {
	more := min(c.window, c.maxWindow-c.window)
	if !c.budget.grow(more) {
		return
	}
	c.window += more
	c.grown += more
	c.post(kindCredit, c.owed+more)
	c.allowed += c.owed + more
	c.owed = 0
}

// Write implements net.Conn. It returns when the carrier has taken over all of p.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for {
		switch {
		case c.done:
			return written, net.ErrClosed
		case c.writeDeadline.expired:
			return written, os.ErrDeadlineExceeded
		case c.err != nil:
			return written, c.err
		case c.peerClosed:
			return written, io.ErrClosedPipe
		case written == len(p):
			return written, nil
		}
		room := c.credit - headerSize
		if room <= 0 || c.carrier == nil {
			if !c.toldBlocked {
				c.toldBlocked = true
				c.post(kindBlocked, 0)
			}
			c.writable.Wait()
			continue
		}
		n := min(room, len(p)-written, MaxFrame)
		c.credit -= headerSize + n
		blocked := c.credit <= headerSize && written+n < len(p)
		c.toldBlocked = blocked
		sent, err := c.send(p[written:written+n], blocked)
		if err != nil {
			return written, err
		}
		written += sent
	}
}

// send sends one data frame and returns how much of p was sent: nothing when the stream
// was closed meanwhile. The caller holds mu, which is let go meanwhile.
func (c *Conn) send(p []byte, blocked bool) (int, error) {
	var head, tail [headerSize]byte
	parts := [3][]byte{appendHeader(head[:0], kindData, len(p)), p}
	count := 2
	if blocked {
		parts[2] = appendHeader(tail[:0], kindBlocked, 0)
		count = 3
	}
	c.sending = true
	c.mu.Unlock()
	err := c.carrier.Send(parts[:count]...)
	c.mu.Lock()
	c.sending = false
	defer c.sendEnds()
	switch {
	case err == nil:
		return len(p), nil
	case c.closed || c.peerClosed:
		return 0, nil // it was canceled; the caller looks why
	}
	err = fmt.Errorf("sending on the carrier: %w", err)
	c.fail(err)
	return 0, err
}

// sendEnds tells the peer of the ends that it does not know of yet.
func (c *Conn) sendEnds() {
	if c.sending || c.carrier == nil || c.err != nil {
		return
	}
	switch {
	case (c.closed || c.peerClosed) && !c.closeSent:
		c.post(kindClose, 0)
		c.closeSent, c.doneSent = true, true
	case c.done && !c.doneSent:
		c.post(kindFin, 0)
		c.doneSent = true
	}
	if c.closeSent && c.peerClosed {
		c.finish(nil)
	}
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

// CloseWrite tells the peer that no more data comes; reading goes on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return net.ErrClosed
	}
	c.done = true
	c.wake()
	c.sendEnds()
	return nil
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

// Ended tells the Conn that the carrier delivers nothing any more, and why.
func (c *Conn) Ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peerClosed {
		return
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.fail(fmt.Errorf("receiving from the carrier: %w", err))
}

// Feed takes bytes that the carrier delivered. An error is final.
func (c *Conn) Feed(p []byte) error {
	c.mu.Lock()
	before := c.in.Len()
	err := c.decoder.feed(p, (*received)(c))
	victim := c.gained(c.in.Len() - before)
	if err != nil {
		c.fail(err)
	}
	c.mu.Unlock()
	if victim != nil {
		victim.overrun()
	}
	return err
}

func (c *Conn) gained(n int) (victim *Conn) {
	if n <= 0 {
		return nil
	}
	c.readable.Broadcast()
	return c.budget.add(c, n)
}

// Reserve returns a buffer for the next 1 to n bytes that the carrier delivers, or nil
// when they are not data, or not enough to be worth it. The buffer must be committed, or
// forgotten, before the next call of Reserve or Feed.
func (c *Conn) Reserve(n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.decoder.payload)
	if n < chunkSize/8 || c.closed || c.err != nil {
		return nil
	}
	return c.in.Reserve(n)
}

// Commit takes the first n bytes of the buffer reserved last.
func (c *Conn) Commit(n int) {
	c.mu.Lock()
	c.decoder.payload -= n
	if c.closed || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.in.Commit(n)
	victim := c.gained(n)
	c.mu.Unlock()
	if victim != nil {
		victim.overrun()
	}
}

// overrun ends a stream whose unread bytes were too many for its budget.
func (c *Conn) overrun() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	c.fail(ErrBudget)
}

// received is the face of a Conn to its decoder. Its methods hold mu.
type received Conn

func (r *received) onDataHeader(n int) error {
	c := (*Conn)(r)
	if c.peerDone {
		return fmt.Errorf("%w: data after the end", ErrProtocol)
	}
	if n+headerSize > c.allowed {
		return fmt.Errorf("%w: %d bytes beyond the window", ErrProtocol, n+headerSize-c.allowed)
	}
	c.allowed -= n + headerSize
	c.peerBlocked = false
	c.owe(headerSize)
	return nil
}

func (r *received) onData(p []byte) {
	if !r.closed && r.err == nil {
		r.in.Write(p)
	}
}

func (r *received) onCredit(n int) error {
	if r.credit+n > maxCredit {
		return fmt.Errorf("%w: %d bytes of credit in all", ErrProtocol, r.credit+n)
	}
	r.credit += n
	r.toldBlocked = false
	r.writable.Broadcast()
	return nil
}

func (r *received) onBlocked() {
	c := (*Conn)(r)
	if c.peerDone {
		return
	}
	c.peerBlocked = true
	c.owe(0)
}

func (r *received) onFin() error {
	if r.peerDone {
		return fmt.Errorf("%w: ended twice", ErrProtocol)
	}
	r.peerDone = true
	r.readable.Broadcast()
	return nil
}

func (r *received) onClose() error {
	if r.peerClosed {
		return fmt.Errorf("%w: closed twice", ErrProtocol)
	}
	r.peerDone, r.peerClosed = true, true
	(*Conn)(r).wake()
	(*Conn)(r).sendEnds()
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.readDeadline.set(t, &c.readable)
	c.writeDeadline.set(t, &c.writable)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.readDeadline.set(t, &c.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.writeDeadline.set(t, &c.writable)
	return nil
}
