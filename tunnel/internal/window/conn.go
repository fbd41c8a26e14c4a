// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package window makes a well-behaved net.Conn of a carrier that can only move bytes in
// each direction: flow control by credit, deadlines, half-close, and a close that is told
// apart from a carrier that broke off. It knows nothing of the carrier.
//
// A Conn has an application side, the net.Conn, and a carrier side: Send copies what is
// to be sent to the carrier, Receive takes what it delivers. Receive never waits for the
// application, so a carrier below is always drained, and what it can hold is bounded by
// the window. Both ends start without credit and grant their window first thing.
package window

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// outLimit bounds the frames that wait for the carrier, in bytes.
	outLimit = MaxFrame + headerSize
	// receiveBuffer is how much Receive reads at once, in bytes.
	receiveBuffer = 32 << 10
	// lingerTime is how long a closed Conn waits for its peer to close too.
	lingerTime = 10 * time.Second
)

var errLinger = errors.New("the peer did not answer the close of the stream in time")

// Config sets up a Conn.
type Config struct {
	// Window is how many wire bytes the peer may send ahead of the application, at least
	// 4096.
	Window int
	// Greeting is sent before the first frame, as it is.
	Greeting []byte
	// Budget is shared by the Conns that may together hold a bounded number of bytes. May
	// be nil.
	Budget *Budget
	// Addr is what LocalAddr and RemoteAddr return.
	Addr net.Addr
}

// Conn is one end of a stream. See the package's documentation.
type Conn struct {
	addr   net.Addr
	window int
	budget *Budget

	writing sync.Mutex // held by Write, so that concurrent writes do not mix

	mu       sync.Mutex
	readable sync.Cond // the application may read
	writable sync.Cond // the application may write
	sendable sync.Cond // Send has something to do

	readDeadline, writeDeadline deadline

	decoder    decoder
	in         buffer
	allowed    int  // wire bytes that the peer may still send
	owed       int  // wire bytes that were used up and not yet granted again
	peerDone   bool // the peer sends no more data
	peerClosed bool // the peer does not read any more either

	out       []byte // whole frames, paid with credit
	spare     []byte // the buffer that Send gave back
	credit    int    // wire bytes that we may still send
	done      bool   // CloseWrite or Close was called
	doneSent  bool
	closed    bool // Close was called
	closeSent bool
	linger    *time.Timer

	err error // why the carrier is of no use any more
}

// New returns a Conn. It does nothing until Send and Receive run.
func New(config Config) *Conn {
	c := &Conn{addr: config.Addr, window: max(config.Window, 4096), budget: config.Budget}
	c.readable.L, c.writable.L, c.sendable.L = &c.mu, &c.mu, &c.mu
	c.out = append(c.out, config.Greeting...)
	c.out = appendHeader(c.out, kindCredit, c.window)
	c.allowed = c.window
	return c
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
	if c.creditDue() {
		c.sendable.Signal()
	}
}

// creditDue tells whether it is worth a frame to grant what is owed.
func (c *Conn) creditDue() bool {
	return c.owed >= c.window/4 && !c.peerDone && !c.closed
}

// Write implements net.Conn. It returns when the carrier side has taken over all of p.
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
		room := min(c.credit, outLimit-len(c.out)) - headerSize
		if room <= 0 {
			c.writable.Wait()
			continue
		}
		n := min(room, len(p)-written, MaxFrame)
		c.out = appendHeader(c.out, kindData, n)
		c.out = append(c.out, p[written:written+n]...)
		c.credit -= headerSize + n
		written += n
		c.sendable.Signal()
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
	if c.err == nil {
		c.linger = time.AfterFunc(lingerTime, func() { c.Fail(errLinger) })
	}
	c.wake()
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
	if c.linger != nil {
		c.linger.Stop()
	}
	c.wake()
}

// drop forgets what was received and not read.
func (c *Conn) drop() {
	c.budget.forget(c)
	c.in.Reset()
}

func (c *Conn) wake() {
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.sendable.Broadcast()
}

// Send copies what is to be sent to w until both ends have closed, which is no error, or
// until the stream or w fails. It must run once.
func (c *Conn) Send(w io.Writer) error {
	for {
		batch, err := c.nextBatch()
		if err != nil || batch == nil {
			return err
		}
		if _, err := w.Write(batch); err != nil {
			err = fmt.Errorf("sending on the carrier: %w", err)
			c.Fail(err)
			return err
		}
		c.mu.Lock()
		c.spare = batch[:0]
		c.mu.Unlock()
	}
}

// nextBatch waits for frames to send. It returns nil when there will be none any more.
func (c *Conn) nextBatch() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.err != nil {
			return nil, c.err
		}
		if c.closeSent && c.peerClosed {
			if c.linger != nil {
				c.linger.Stop()
			}
			return nil, nil
		}
		if batch := c.collect(); len(batch) > 0 {
			c.writable.Broadcast()
			return batch, nil
		}
		c.sendable.Wait()
	}
}

// collect takes the waiting frames and adds the control frames that are due.
func (c *Conn) collect() []byte {
	batch := c.out
	if c.peerClosed {
		batch = batch[:0] // nobody reads it
	}
	if c.creditDue() {
		batch = appendHeader(batch, kindCredit, c.owed)
		c.allowed += c.owed
		c.owed = 0
	}
	switch {
	case (c.closed || c.peerClosed) && !c.closeSent:
		batch = appendHeader(batch, kindClose, 0)
		c.closeSent, c.doneSent = true, true
	case c.done && !c.doneSent:
		batch = appendHeader(batch, kindFin, 0)
		c.doneSent = true
	}
	if len(batch) > 0 {
		c.out, c.spare = c.spare, nil
	}
	return batch
}

// Receive takes what r delivers until r ends. It never waits for the application. The
// error is nil when the peer had closed the stream before. It must run once.
func (c *Conn) Receive(r io.Reader) error {
	buf := make([]byte, receiveBuffer)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := c.Feed(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return c.ended(err)
		}
	}
}

// ended takes note that the carrier delivers nothing any more.
func (c *Conn) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peerClosed {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("receiving from the carrier: %w", err)
	c.fail(err)
	return err
}

// Feed takes bytes that the carrier delivered. An error is final.
func (c *Conn) Feed(p []byte) error {
	c.mu.Lock()
	before := c.in.Len()
	err := c.decoder.feed(p, (*received)(c))
	var victim *Conn
	if gained := c.in.Len() - before; gained > 0 {
		c.readable.Broadcast()
		victim = c.budget.add(c, gained)
	}
	if err != nil {
		c.fail(err)
	}
	c.mu.Unlock()
	if victim != nil {
		victim.overrun()
	}
	return err
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
	r.writable.Broadcast()
	return nil
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
