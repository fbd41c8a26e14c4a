// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"io"
	"net"
	"os"
)

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
// was closed or the deadline has come meanwhile. The caller holds mu, which is let go meanwhile.
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
	case err == os.ErrDeadlineExceeded: //nolint:errorlint // a network that timed out is wrapped, and is another matter
		// Nothing was sent, so nothing of the credit was used up.
		c.credit += headerSize + len(p)
		c.toldBlocked = false
		return 0, os.ErrDeadlineExceeded
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
