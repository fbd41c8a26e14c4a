// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

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
