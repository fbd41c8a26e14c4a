// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package link stands between the socket of a tunnel and remotedialer, at both ends.
// remotedialer keeps the session: it opens and ends streams, lists them, and pings. The
// link follows the websocket frames in both directions and
//
//   - moves the data of streams past remotedialer's buffers: what arrives for a stream is
//     read from the socket into the stream's own buffer, and what a stream sends is
//     written as a remotedialer message by whoever sends it, without a goroutine between;
//   - queues what remotedialer writes, so that its locks are never held across a write to
//     the network and its only reader never waits for one;
//   - refuses what the far end has no reason to send (see inbound);
//   - at the hub, answers pings itself and measures the round-trip time with its own.
//
// The bytes on the wire are those of remotedialer v0.6.1 over a websocket, and a far end
// without a link understands them. The link knows the framing and remotedialer's message
// header; it knows nothing of what streams mean.
package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

// Role says which end of a tunnel a link is at.
type Role int

// The roles.
const (
	Hub Role = iota
	Agent
)

const (
	// directMin is the smallest rest of a data message that is read straight into the
	// stream's buffer, in bytes.
	directMin = 2 << 10
	// pingEvery is how often the hub measures the round-trip time.
	pingEvery = 30 * time.Second
)

// Sink takes what arrives for a stream. It is called by the reader of the link, which
// everything on the tunnel waits for.
type Sink interface {
	// Feed takes bytes; it must not keep p.
	Feed(p []byte)
	// Reserve returns a buffer of 1 to n bytes that the next bytes are to be read into, or
	// nil when they are to be fed. Commit takes the n bytes that were read into it.
	Reserve(n int) []byte
	Commit(n int)
	// Ended tells that the far end has ended the stream. It is called at the hub only: an
	// agent learns it from remotedialer.
	Ended()
}

// Config sets up a Conn.
type Config struct {
	Role Role
	// MaxStreams bounds the list of streams that an agent sends from time to time.
	MaxStreams int
	// OnDrain is called at an agent when the hub says that it will stop, with the time over
	// which agents are to spread their return. It must not wait. May be nil.
	OnDrain func(spread time.Duration)
	// Totals also counts the bytes of this link. May be nil.
	Totals *Totals
}

// Totals counts the bytes of the streams of many links.
type Totals struct{ Received, Sent atomic.Int64 }

// Conn is the network connection that the websocket library gets.
type Conn struct {
	*socket.Conn
	role    Role
	onDrain func(time.Duration)
	started atomic.Bool

	in   inbound // the reader's alone
	rest []byte  // at an agent: what came after the answer to the handshake
	head []byte  // at an agent: the end of that answer so far, until started

	streams sync.Map   // int64: *Stream
	binding sync.Mutex // held while remotedialer writes the message that numbers a stream

	mu     sync.Mutex
	queue  *[]byte // whole frames that wait to be written; nil when none
	staged []byte  // what remotedialer wrote of a message that is not complete
	bound  *Stream // the stream that waits for its number
	failed error
	space  sync.Cond // there is room in the queue, or something failed

	writing    sync.Mutex // held for each write to the socket
	background sync.WaitGroup

	stats  Stats
	totals *Totals
	pings  pings
}

// Stats counts what passed, in bytes of streams without any framing of the tunnel's, and
// holds the round-trip time measured last, 0 when there was none yet.
type Stats struct {
	Received, Sent atomic.Int64
	RoundTrip      atomic.Int64 // nanoseconds
}

// New puts a link on conn.
func New(conn *socket.Conn, config Config) *Conn {
	c := &Conn{Conn: conn, role: config.Role, onDrain: config.OnDrain, totals: config.Totals}
	if c.totals == nil {
		c.totals = &Totals{}
	}
	c.space.L = &c.mu
	c.in = newInbound(c, config.MaxStreams)
	return c
}

var _ net.Conn = (*Conn)(nil)

// Stats returns the counters.
func (c *Conn) Stats() *Stats { return &c.stats }

func (c *Conn) received(n int64) {
	c.stats.Received.Add(n)
	c.totals.Received.Add(n)
}

func (c *Conn) sent(n int64) {
	c.stats.Sent.Add(n)
	c.totals.Sent.Add(n)
}

// Start ends the handshake: from here on there are frames in both directions.
func (c *Conn) Start() { c.started.Store(true) }

// Read implements net.Conn for the websocket library, which gets what is not data of a
// bound stream. A violation ends the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.started.Load() { // at an agent: the hub reads nothing before
		return c.readHandshake(p)
	}
	for {
		if n := c.in.deliver(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		n, err := c.readMore(p)
		if n > 0 {
			if bad := c.in.take(p[:n]); bad != nil {
				c.Down(bad)
				return 0, bad
			}
		}
		if err != nil && !c.in.waiting() {
			return 0, err
		}
	}
}

// readMore reads what comes next: the rest of a data message into its stream, anything
// else into p, which is long enough for many small messages.
func (c *Conn) readMore(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	if buf := c.in.direct(); buf != nil {
		n, err := c.Conn.Read(buf)
		if bad := c.in.took(n); bad != nil {
			c.Down(bad)
			return 0, bad
		}
		return 0, err
	}
	return c.Conn.Read(p)
}

var endOfHeader = []byte("\r\n\r\n")

// readHandshake gives the websocket library no byte beyond the answer to its handshake,
// before it is known what that answer is.
func (c *Conn) readHandshake(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	seen := len(c.head)
	c.head = append(c.head, p[:n]...)
	if end := bytes.Index(c.head, endOfHeader); end >= 0 {
		kept := min(max(end+len(endOfHeader)-seen, 0), n)
		c.rest = append(c.rest, p[kept:n]...)
		n = kept
	}
	if over := len(c.head) - len(endOfHeader) + 1; over > 0 {
		c.head = append(c.head[:0], c.head[over:]...)
	}
	return n, err
}

// Bind has write make remotedialer write one message, and binds the stream that the
// message is of to sink: from then on the stream's data goes past remotedialer. write
// must return when remotedialer has written.
func (c *Conn) Bind(sink Sink, write func() error) (*Stream, error) {
	c.binding.Lock()
	defer c.binding.Unlock()
	s := &Stream{link: c, sink: sink}
	c.mu.Lock()
	c.bound = s
	c.mu.Unlock()
	err := write()
	c.mu.Lock()
	unbound := c.bound != nil
	c.bound = nil
	c.mu.Unlock()
	if err == nil && unbound {
		err = errors.New("remotedialer wrote nothing")
	}
	if err != nil {
		s.Unbind()
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	return s, nil
}

// Unbound runs write, which makes remotedialer write a message of a stream that stays
// with it, when no stream is being bound.
func (c *Conn) Unbound(write func() error) error {
	c.binding.Lock()
	defer c.binding.Unlock()
	return write()
}

// Wait refuses further writes and returns when all that the link started has ended. The
// connection must be closed.
func (c *Conn) Wait() {
	c.mu.Lock()
	if c.failed == nil {
		c.failed = net.ErrClosed
		c.space.Broadcast()
	}
	c.mu.Unlock()
	c.background.Wait()
}

// Stream is the way of one stream's bytes through a link.
type Stream struct {
	link *Conn
	sink Sink
	id   atomic.Int64

	canceled, expired bool // guarded by the link's lock
}

// Unbind leaves what still arrives for the stream to remotedialer.
func (s *Stream) Unbind() { s.link.streams.CompareAndDelete(s.id.Load(), s) }
