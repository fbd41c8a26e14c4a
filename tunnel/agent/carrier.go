// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
)

// carrier is the end of a stream that remotedialer has opened. remotedialer sends the
// answer to the opening and learns of the end; the bytes between pass it by, on the link.
// The other end is a connection of the agent's HTTP server.
type carrier struct {
	stream   *window.Conn // nil for a stream that is refused
	refusal  string
	session  *session
	once     sync.Once
	finished chan struct{} // closed when the stream is over
	closed   chan struct{} // closed by Close
	quiet    chan struct{} // closed when WriteTo writes no more and waits for the tunnel's end
}

func newCarrier(s *session) *carrier {
	return &carrier{
		session:  s,
		finished: make(chan struct{}),
		closed:   make(chan struct{}),
		quiet:    make(chan struct{}),
	}
}

// accept makes c the carrier of a new stream.
func (c *carrier) accept() {
	c.stream = window.New(window.Config{
		Window:    protocol.Window,
		MaxWindow: protocol.MaxWindow,
		Budget:    c.session.budget,
		Addr:      target{},
		OnDone:    func(error) { close(c.finished) },
	})
}

// WriteTo implements io.WriterTo, which io.Copy calls with remotedialer's end. It returns
// when the stream is over. When the tunnel is going down it returns only after
// remotedialer has closed all its connections: after a copy remotedialer closes its end
// without a lock against that.
func (c *carrier) WriteTo(w io.Writer) (int64, error) {
	err := c.run(w)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		// Not this stream was closed, the tunnel is broken. Its reader need not know yet.
		c.session.abort(err)
	}
	c.fail(net.ErrClosed)
	if c.session.isClosing() {
		close(c.quiet)
		<-c.session.over
	}
	return 0, err
}

func (c *carrier) run(w io.Writer) error {
	if c.stream == nil {
		return c.session.link.Unbound(func() error {
			_, err := io.WriteString(w, protocol.Refusal(c.refusal))
			return err
		})
	}
	way, err := c.session.link.Bind(c, func() error {
		_, err := io.WriteString(w, protocol.Preface)
		return err
	})
	if err != nil {
		return err
	}
	defer way.Unbind()
	c.stream.Start(way) // one that has failed is over already
	<-c.finished
	return nil
}

// fail ends the stream, if there is one.
func (c *carrier) fail(err error) {
	if c.stream != nil {
		c.stream.Fail(err)
	}
}

// ReadFrom implements io.ReaderFrom, by which io.Copy waits for the end of remotedialer's
// connection; what arrives before the stream is bound is its too. It returns after Close:
// remotedialer, which copies in both directions at once, closes its end after either
// copy, without a lock against the other.
func (c *carrier) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		total += int64(n)
		if c.stream != nil {
			c.Feed(buf[:n])
		}
		if err != nil {
			if c.stream != nil {
				c.stream.Ended(err)
			}
			<-c.closed
			return total, err
		}
	}
}

// Feed implements link.Sink.
func (c *carrier) Feed(p []byte) {
	_ = c.stream.Feed(p) // the stream has failed, which its reader and writer learn
}

// Reserve implements link.Sink.
func (c *carrier) Reserve(n int) []byte { return c.stream.Reserve(n) }

// Commit implements link.Sink.
func (c *carrier) Commit(n int) { c.stream.Commit(n) }

// Ended implements link.Sink; an agent learns of the end from remotedialer.
func (c *carrier) Ended() {}

// Close implements net.Conn.
func (c *carrier) Close() error {
	c.once.Do(func() {
		c.fail(net.ErrClosed)
		c.session.leave(c)
		close(c.closed)
	})
	return nil
}

var errCopyOnly = errors.New("a carrier is only copied by WriteTo and ReadFrom")

// Read makes carrier a net.Conn. io.Copy calls WriteTo in its place.
func (c *carrier) Read([]byte) (int, error) { return 0, errCopyOnly }

// Write makes carrier a net.Conn. io.Copy calls ReadFrom in its place.
func (c *carrier) Write([]byte) (int, error) { return 0, errCopyOnly }

// LocalAddr implements net.Conn.
func (c *carrier) LocalAddr() net.Addr { return target{} }

// RemoteAddr implements net.Conn.
func (c *carrier) RemoteAddr() net.Addr { return target{} }

// SetDeadline implements net.Conn; remotedialer sets none.
func (c *carrier) SetDeadline(time.Time) error { return errCopyOnly }

// SetReadDeadline implements net.Conn; remotedialer sets none.
func (c *carrier) SetReadDeadline(time.Time) error { return errCopyOnly }

// SetWriteDeadline implements net.Conn; remotedialer sets none.
func (c *carrier) SetWriteDeadline(time.Time) error { return errCopyOnly }

type target struct{}

func (target) Network() string { return protocol.Network }
func (target) String() string  { return protocol.KubeAPI }

// listener hands streams to the HTTP server.
type listener struct {
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func newListener() *listener {
	return &listener{streams: make(chan net.Conn), done: make(chan struct{})}
}

func (l *listener) offer(ctx context.Context, conn net.Conn) error {
	select {
	case l.streams <- conn:
		return nil
	case <-l.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.streams:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return target{} }
