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

// carrier is the end of a stream that remotedialer copies bytes to and from. The other
// end is a connection of the agent's HTTP server.
type carrier struct {
	stream  *window.Conn // nil for a stream that is refused
	refusal string
	session *session
	once    sync.Once
	closed  chan struct{} // closed by Close
	quiet   chan struct{} // closed when WriteTo writes no more and waits for the tunnel's end
}

func newCarrier(s *session) *carrier {
	return &carrier{session: s, closed: make(chan struct{}), quiet: make(chan struct{})}
}

// accept makes c the carrier of a new stream.
func (c *carrier) accept() {
	c.stream = window.New(window.Config{Window: protocol.Window, Greeting: []byte(protocol.Preface), Addr: target{}})
}

// WriteTo implements io.WriterTo, by which io.Copy sends the stream's bytes to the hub.
// When the tunnel is going down it returns only after remotedialer has closed all its
// connections: after a copy remotedialer closes its end without a lock against that.
func (c *carrier) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	err := c.send(counted)
	if counted.err != nil && !errors.Is(counted.err, io.ErrClosedPipe) {
		// Not this stream was closed, the tunnel is broken. Its reader need not know yet.
		c.session.abort(counted.err)
	}
	if c.session.isClosing() {
		close(c.quiet)
		<-c.session.over
	}
	return counted.n, err
}

func (c *carrier) send(w io.Writer) error {
	if c.stream == nil {
		_, err := io.WriteString(w, protocol.Refusal(c.refusal))
		return err
	}
	return c.stream.Send(w)
}

// fail ends the stream, if there is one.
func (c *carrier) fail(err error) {
	if c.stream != nil {
		c.stream.Fail(err)
	}
}

// ReadFrom implements io.ReaderFrom, by which io.Copy takes the bytes from the hub. It
// returns after Close: remotedialer, which copies in both directions at once, closes its
// end after either copy, without a lock against the other.
func (c *carrier) ReadFrom(r io.Reader) (int64, error) {
	counted := &countingReader{r: r}
	var err error
	if c.stream == nil {
		_, err = io.Copy(io.Discard, counted)
	} else {
		err = c.stream.Receive(counted)
	}
	<-c.closed
	return counted.n, err
}

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

type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

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
