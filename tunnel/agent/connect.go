// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
)

const (
	handshakeTime = 15 * time.Second
	// idleTime is how long the hub may be silent: it answers a ping every 5 s. With
	// stallTime it makes that a cut cable is noticed within 20 s.
	idleTime = 15 * time.Second
	// stallTime is how long one write to the socket may take, and what was sent may stay
	// without the kernel's acknowledgement.
	stallTime = 15 * time.Second
	// socketBuffer is the websocket's read and write buffer, in bytes. The link moves all
	// that is large past the websocket library.
	socketBuffer = 4 << 10
	// maxMessage bounds a websocket message from the hub, in bytes.
	maxMessage = 256 << 10
	// longestAsked bounds the Retry-After that is honoured.
	longestAsked = 5 * time.Minute
	// maxReason bounds the text of a refusal, in bytes.
	maxReason = 512
)

// refusedError is a hub's answer that is not a tunnel.
type refusedError struct {
	status     int
	reason     string
	retryAfter time.Duration
}

func (e *refusedError) Error() string {
	if e.reason == "" {
		return "the hub answered " + status(e.status)
	}
	return fmt.Sprintf("the hub answered %d: %s", e.status, e.reason)
}

// connect opens the websocket of s, and sets its socket as soon as there is one.
func (a *route) connect(ctx context.Context, s *session) (*websocket.Conn, error) {
	secret, err := a.opts.Secret()
	if err != nil {
		return nil, fmt.Errorf("reading the secret: %w", err)
	}
	dial := func(dialCtx context.Context, _, address string) (net.Conn, error) {
		conn, err := a.dialHub(dialCtx, address)
		if err != nil {
			return nil, err
		}
		s.take(ctx, conn)
		return s.link, nil
	}
	dialer := websocket.Dialer{
		HandshakeTimeout:  handshakeTime,
		ReadBufferSize:    socketBuffer,
		WriteBufferSize:   socketBuffer,
		NetDialContext:    dial,
		NetDialTLSContext: dial,
	}
	ws, resp, err := dialer.DialContext(ctx, a.url, http.Header{
		protocol.HeaderCluster: {a.opts.Cluster},
		protocol.HeaderSecret:  {string(secret)},
		protocol.HeaderUID:     {a.opts.UID},
		protocol.HeaderVersion: {a.opts.Version},
	})
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
			return nil, refusal(resp)
		}
		return nil, fmt.Errorf("dialing the hub: %w", err)
	}
	ws.SetReadLimit(maxMessage)
	if err := s.socket.Arm(); err != nil {
		_ = ws.Close() // of no use
		return nil, fmt.Errorf("clearing the connection's deadlines: %w", err)
	}
	s.link.Start()
	return ws, nil
}

// refusal reads a hub's answer, or that of a proxy or balancer in front of it.
func refusal(resp *http.Response) *refusedError {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	if err != nil {
		text = nil // the status says enough
	}
	return &refusedError{
		status:     resp.StatusCode,
		reason:     strings.TrimSpace(strings.ToValidUTF8(string(text), "?")),
		retryAfter: readRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// readRetryAfter reads a number of seconds or a date. What cannot be understood is as good
// as nothing, and what is long is cut to longestAsked.
func readRetryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longestAsked.Seconds()))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), longestAsked)
}
