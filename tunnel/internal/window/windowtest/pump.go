// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package windowtest runs a window.Conn over any connection, one goroutine for each
// direction, as tests need it. It knows nothing of tunnels.
package windowtest

import (
	"io"
	"net"
	"os"
	"sync"
)

// Stream is the carrier side of a window.Conn.
type Stream interface {
	Feed(p []byte) error
	Ended(err error)
}

// Pump is a window.Carrier over a connection.
type Pump struct {
	conn net.Conn

	mu       sync.Mutex
	cond     sync.Cond
	queue    []byte
	closed   bool
	canceled bool
	expired  bool
	err      error

	// Ended is closed when the connection delivers nothing any more.
	Ended chan struct{}

	group sync.WaitGroup
}

// New returns a pump over conn.
func New(conn net.Conn) *Pump {
	p := &Pump{conn: conn, Ended: make(chan struct{})}
	p.cond.L = &p.mu
	return p
}

// Run feeds c from the connection. What that gave already comes first.
func (p *Pump) Run(c Stream, already []byte) {
	p.group.Go(p.write)
	p.group.Go(func() {
		defer close(p.Ended)
		if c.Feed(already) == nil {
			p.read(c)
		}
	})
}

// Stop sends what is queued, closes the connection and waits for the pump's goroutines.
func (p *Pump) Stop() {
	p.mu.Lock()
	p.closed = true
	p.cond.Broadcast()
	p.mu.Unlock()
	p.group.Wait()
}

func (p *Pump) read(c Stream) {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.conn.Read(buf)
		if n > 0 && c.Feed(buf[:n]) != nil {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			c.Ended(err)
			return
		}
	}
}

func (p *Pump) write() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.queue) == 0 && !p.closed {
			p.cond.Wait()
		}
		if len(p.queue) == 0 {
			_ = p.conn.Close() // the reader notices
			return
		}
		queue := p.queue
		p.queue = nil
		p.mu.Unlock()
		_, err := p.conn.Write(queue)
		p.mu.Lock()
		if err != nil && p.err == nil {
			p.err = err
		}
		p.cond.Broadcast()
	}
}

// Send implements window.Carrier.
func (p *Pump) Send(parts ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.full() && p.err == nil && !p.closed && !p.canceled {
		if p.expired {
			return os.ErrDeadlineExceeded
		}
		p.cond.Wait()
	}
	if p.canceled {
		return net.ErrClosed
	}
	for _, part := range parts {
		p.queue = append(p.queue, part...)
	}
	p.cond.Broadcast()
	return p.err
}

// AwaitFull returns when the queue takes no more.
func (p *Pump) AwaitFull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.full() {
		p.cond.Wait()
	}
}

// full tells whether a sender has to wait. The caller holds mu.
func (p *Pump) full() bool { return len(p.queue) > 64<<10 }

// Cancel implements window.Carrier.
func (p *Pump) Cancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.canceled = true
	p.cond.Broadcast()
}

// Expire implements window.Carrier.
func (p *Pump) Expire(expired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = expired
	p.cond.Broadcast()
}

// Post implements window.Carrier.
func (p *Pump) Post(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, b...)
	p.cond.Broadcast()
}
