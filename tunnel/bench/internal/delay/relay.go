// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package delay relays TCP connections and holds back what passes, as a long path does. It
// adds delay only: how fast bytes pass is left to the ends, up to the bytes that the path
// may hold. It knows nothing of what the bytes mean.
package delay

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// chunkSize is how much is read at once, in bytes.
	chunkSize = 64 << 10
	// chunks is how many chunks may be under way in one direction. Small ones count, too.
	chunks = 16 << 10
)

// Relay passes the connections to its address on to a target.
type Relay struct {
	// Addr is where the relay listens, host:port.
	Addr string

	target   string
	delay    time.Duration
	window   int64
	listener net.Listener
	stop     context.CancelFunc
	workers  sync.WaitGroup
	free     sync.Pool
}

// Listen relays from a free port of host to target. Every byte arrives delay later. At most
// window bytes of a direction are under way or not yet known by their sender to have
// arrived, which is what a window of TCP is; it is to be large enough not to matter, or the
// one that is to be looked at.
func Listen(ctx context.Context, host, target string, delay time.Duration, window int64) (*Relay, error) {
	if window < chunkSize {
		return nil, fmt.Errorf("relaying to %s: the window of %d bytes is smaller than %d", target, window, chunkSize)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening for the relay: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Relay{
		Addr:     listener.Addr().String(),
		target:   target,
		delay:    delay,
		window:   window,
		listener: listener,
		stop:     cancel,
		free:     sync.Pool{New: func() any { return new([chunkSize]byte) }},
	}
	r.workers.Go(func() { r.accept(ctx) })
	return r, nil
}

// Close ends all connections and returns when nothing is left.
func (r *Relay) Close() error {
	r.stop()
	err := r.listener.Close()
	r.workers.Wait()
	return err
}

func (r *Relay) accept(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.workers.Go(func() { r.serve(ctx, near) })
	}
}

func (r *Relay) serve(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.target)
	if err != nil {
		return // the client sees its connection closed
	}
	defer far.Close()
	release := context.AfterFunc(ctx, func() {
		_ = near.Close() // the relay ends
		_ = far.Close()
	})
	defer release()
	var both sync.WaitGroup
	both.Go(func() { r.pass(ctx, far, near) })
	both.Go(func() { r.pass(ctx, near, far) })
	both.Wait()
}

// chunk is a piece of the stream on its way.
type chunk struct {
	buf *[chunkSize]byte
	n   int
	due time.Time
}

// pass carries one direction to its end.
func (r *Relay) pass(ctx context.Context, to, from net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	window := semaphore.NewWeighted(r.window)
	underWay := make(chan chunk, chunks)
	arrived := make(chan chunk, chunks)
	var stages sync.WaitGroup
	stages.Go(func() {
		defer close(arrived)
		r.deliver(ctx, to, from, underWay, arrived)
	})
	stages.Go(func() {
		for c := range arrived {
			await(ctx, c.due)
			window.Release(int64(c.n))
		}
	})
	r.take(ctx, from, window, underWay)
	close(underWay)
	stages.Wait()
	cancel()
}

// take reads until the end of from and sends each piece on its way.
func (r *Relay) take(ctx context.Context, from net.Conn, window *semaphore.Weighted, underWay chan<- chunk) {
	for {
		buf, ok := r.free.Get().(*[chunkSize]byte)
		if !ok {
			return
		}
		n, err := from.Read(buf[:])
		if n > 0 {
			if window.Acquire(ctx, int64(n)) != nil {
				return
			}
			select {
			case underWay <- chunk{buf: buf, n: n, due: time.Now().Add(r.delay)}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver writes what is due, and reports it as arrived with the time at which its sender
// knows. When it cannot write it ends both directions.
func (r *Relay) deliver(ctx context.Context, to, from net.Conn, underWay <-chan chunk, arrived chan<- chunk) {
	var failed error
	for c := range underWay {
		if failed == nil && await(ctx, c.due) {
			if _, failed = to.Write(c.buf[:c.n]); failed != nil {
				_ = to.Close() // it is broken
				_ = from.Close()
			}
		}
		r.free.Put(c.buf)
		arrived <- chunk{n: c.n, due: time.Now().Add(r.delay)}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok && failed == nil {
		_ = half.CloseWrite() // if that fails, its reader knows already
	}
}

// await returns at due, or false at once when ctx has ended.
func await(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
