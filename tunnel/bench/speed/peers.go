// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
	"github.com/rancher/remotedialer"
	"github.com/sirupsen/logrus"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
)

const (
	// yamuxWindow is the most that a yamux stream may have under way, in bytes.
	yamuxWindow = 4 << 20
	// yamuxBuffer is the websocket buffer at both ends of yamux, in bytes.
	yamuxBuffer = 64 << 10
)

// stock is remotedialer as it is, the hop behind an in-memory connection at the agent.
func (r *rig) stock(ctx context.Context, _ path) (*variant, error) {
	const name = "edge"
	logrus.SetLevel(logrus.ErrorLevel) // that a tunnel came up is no news here
	authorize := func(*http.Request) (string, bool, error) { return name, true, nil }
	server := remotedialer.New(authorize, remotedialer.DefaultErrorWriter)
	door, err := r.front(ctx, near, server)
	if err != nil {
		return nil, err
	}
	config, err := r.material.Client()
	if err != nil {
		return nil, err
	}
	pipes := newPipes()
	r.serveHop(pipes)

	ctx, cancel := context.WithCancel(ctx)
	connected := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- remotedialer.ConnectToProxyWithDialer(ctx, strings.Replace(door.URL, "https", "wss", 1), http.Header{},
			func(string, string) bool { return true },
			&websocket.Dialer{TLSClientConfig: config, HandshakeTimeout: connectTime},
			pipes.dial,
			func(context.Context, *remotedialer.Session) error { close(connected); return nil })
	}()
	r.later(func() error {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return err // nil or why the peer broke, not that it was told to end
		}
		return nil
	})
	select {
	case <-connected:
	case err := <-ended:
		ended <- err
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return r.client(stock, "http://"+name, server.Dialer(name))
}

// yamux is a yamux session on a websocket, the hop on its streams at the agent.
func (r *rig) yamux(ctx context.Context, _ path) (*variant, error) {
	upgrader := websocket.Upgrader{ReadBufferSize: yamuxBuffer, WriteBufferSize: yamuxBuffer}
	accepted := make(chan *websocket.Conn, 1)
	door, err := r.front(ctx, near, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ws, err := upgrader.Upgrade(w, req, nil)
		if err != nil {
			return // it was answered
		}
		accepted <- ws
	}))
	if err != nil {
		return nil, err
	}
	config, err := r.material.Client()
	if err != nil {
		return nil, err
	}
	dialer := websocket.Dialer{
		TLSClientConfig:  config,
		HandshakeTimeout: connectTime,
		ReadBufferSize:   yamuxBuffer,
		WriteBufferSize:  yamuxBuffer,
	}
	ws, _, err := dialer.DialContext(ctx, strings.Replace(door.URL, "https", "wss", 1), nil)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	settings := yamux.DefaultConfig()
	settings.MaxStreamWindowSize = yamuxWindow
	settings.LogOutput = io.Discard
	agentEnd, err := yamux.Server(&wsConn{Conn: ws}, settings)
	if err != nil {
		return nil, err
	}
	r.later(func() error { return gone(agentEnd.Close()) })
	r.serveHop(agentEnd)
	hubEnd, err := yamux.Client(&wsConn{Conn: <-accepted}, settings)
	if err != nil {
		return nil, err
	}
	r.later(func() error { return gone(hubEnd.Close()) })
	return r.client(yamuxd, "http://edge", func(context.Context, string, string) (net.Conn, error) { return hubEnd.Open() })
}

// gone returns err unless it says that the other end has closed the connection first.
func gone(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// serveHop serves the hop on what listener accepts.
func (r *rig) serveHop(listener net.Listener) {
	server := site.NewHTTPServer(r.hop)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	r.later(func() error {
		err := server.Close()
		if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	})
}

// wsConn is a stream of bytes on binary messages. One reader and one writer at a time.
type wsConn struct {
	*websocket.Conn

	message io.Reader
}

// Read implements net.Conn.
func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			_, message, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		c.message = nil
		if n > 0 {
			return n, nil
		}
	}
}

// Write implements net.Conn.
func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetDeadline implements net.Conn.
func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// pipes is a listener whose connections are pipes within the process.
type pipes struct {
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
}

func newPipes() *pipes {
	return &pipes{accepted: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepted <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

// Network implements net.Addr.
func (pipeAddr) Network() string { return "pipe" }

// String implements net.Addr.
func (pipeAddr) String() string { return "pipe" }
