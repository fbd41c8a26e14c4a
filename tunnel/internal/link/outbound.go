// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
)

const (
	// queueSoft is how much may wait before a sender has to wait too, in bytes.
	queueSoft = 64 << 10
	// queueHard is how much may wait at all, in bytes: a far end that provokes messages
	// and does not read them loses its tunnel.
	queueHard = 1 << 20
	// smallSend is the largest message that its sender writes himself, in bytes.
	smallSend = 8 << 10
	// inlineWrite is the most that a sender writes himself, in bytes: his own message and a
	// few that came between.
	inlineWrite = 2 * smallSend
	// bufferSize is what is written at once while much is sent, in bytes.
	bufferSize = queueSoft + 64<<10 + 4<<10
	// maxStaged bounds a message of remotedialer's own, in bytes.
	maxStaged = 64 << 10
)

// ErrBacklog ends a tunnel whose far end provokes messages and does not read them.
var ErrBacklog = errors.New("the far end does not read what it asks for")

// buffers are shared by all links of the process: an idle one needs none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}

func takeBuffer() *[]byte {
	b, _ := buffers.Get().(*[]byte) // the pool holds nothing else
	return b
}

func giveBuffer(b *[]byte) {
	if cap(*b) <= 2*bufferSize {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Write implements net.Conn for the websocket library. Once the handshake is over it
// never waits for the network.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.started.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	err := c.stage(p)
	c.mu.Unlock()
	if err != nil {
		c.Abort(err)
		return 0, err
	}
	c.flushLater()
	return len(p), nil
}

// stage queues the messages that p completes. The caller holds mu.
func (c *Conn) stage(p []byte) error {
	if c.failed != nil {
		return c.failed
	}
	c.staged = append(c.staged, p...)
	for {
		whole, head := splitMessage(c.staged)
		if whole == 0 {
			break
		}
		c.number(head)
		if err := c.enqueue(c.staged[:whole]); err != nil {
			return err
		}
		c.staged = c.staged[whole:]
	}
	if len(c.staged) == 0 {
		c.staged = nil
	}
	if len(c.staged) > maxStaged {
		return violation("remotedialer writes a message of more than %d bytes", maxStaged)
	}
	return nil
}

// number binds the stream that waits for its number. The caller holds mu.
func (c *Conn) number(head []byte) {
	if c.bound == nil {
		return
	}
	var fields [3]int64
	for i := range fields {
		v, n := binary.Varint(head)
		if n <= 0 {
			return
		}
		fields[i], head = v, head[n:]
	}
	opens := int64(typeConnect)
	if c.role == Agent {
		opens = typeData
	}
	if fields[2] != opens {
		return
	}
	c.bound.id.Store(fields[1])
	c.streams.Store(fields[1], c.bound)
	c.bound = nil
}

// splitMessage returns the length of the control frame or message that b begins with, 0
// when it is not complete, and the beginning of its unmasked body.
func splitMessage(b []byte) (whole int, head []byte) {
	for at := 0; ; {
		rest := b[at:]
		if len(rest) < 2 {
			return 0, nil
		}
		size, length := 2, int(rest[1]&^maskBit)
		switch length {
		case 126:
			size += 2
		case 127:
			size += 8
		}
		var key [4]byte
		masked := rest[1]&maskBit != 0
		if masked {
			size += len(key)
		}
		if len(rest) < size {
			return 0, nil
		}
		switch length {
		case 126:
			length = int(binary.BigEndian.Uint16(rest[2:]))
		case 127:
			length = int(min(binary.BigEndian.Uint64(rest[2:]), maxStaged))
		}
		if len(rest) < size+length {
			return 0, nil
		}
		if at == 0 {
			head = append(head, rest[size:size+min(length, maxHead)]...)
			if masked {
				copy(key[:], rest[size-len(key):])
				mask(head, key, 0)
			}
		}
		at += size + length
		if rest[0]&finalBit != 0 {
			return at, head
		}
	}
}

// enqueue adds whole frames to what waits. The caller holds mu.
func (c *Conn) enqueue(frames ...[]byte) error {
	if c.failed != nil {
		return c.failed
	}
	if c.queue == nil {
		c.queue = takeBuffer()
	}
	for _, frame := range frames {
		*c.queue = append(*c.queue, frame...)
	}
	if len(*c.queue) > queueHard {
		c.failed = ErrBacklog
		c.space.Broadcast()
		return c.failed
	}
	return nil
}

// Send sends the parts as one message, of at most 64 KiB and a bit. It waits while much is
// waiting already, until Cancel or Expire. What is large, or meets a network that may hang,
// is written by a goroutine that lasts as long as there is something to write, so that the
// sender is not held.
func (s *Stream) Send(parts ...[]byte) error {
	c := s.link
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	c.mu.Lock()
	for c.failed == nil && !s.canceled && c.queue != nil && len(*c.queue) >= queueSoft {
		if s.expired {
			c.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		c.space.Wait()
	}
	if s.canceled {
		c.mu.Unlock()
		return net.ErrClosed
	}
	err := c.post(s.id.Load(), parts)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.sent(int64(size))
	if size <= smallSend {
		c.flush()
	} else {
		c.flushLater()
	}
	return nil
}

// Cancel ends a Send that waits, and refuses further ones.
func (s *Stream) Cancel() {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.canceled = true
	s.link.space.Broadcast()
}

// Expire makes a Send that waits, or would have to, return os.ErrDeadlineExceeded when it is
// called with true, until it is called with false.
func (s *Stream) Expire(expired bool) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.expired = expired
	s.link.space.Broadcast()
}

// Post sends p on the stream, later when need be. It never waits for the network.
func (s *Stream) Post(p []byte) {
	c := s.link
	c.mu.Lock()
	err := c.post(s.id.Load(), [][]byte{p})
	c.mu.Unlock()
	if err != nil {
		c.Abort(err)
		return
	}
	c.flushLater()
}

// post queues a data message. The caller holds mu.
func (c *Conn) post(id int64, parts [][]byte) error {
	var head [maxHead]byte
	all := make([][]byte, 0, 4)
	all = append(append(all, appendDataHead(head[:0], id)), parts...)
	if err := c.enqueue(); err != nil {
		return err
	}
	*c.queue = appendFrame(*c.queue, c.role, opBinary, all...)
	return c.enqueue()
}

// postControl queues a control frame; the hub alone does that.
func (c *Conn) postControl(op byte, body []byte) {
	c.mu.Lock()
	err := c.enqueue()
	if err == nil {
		*c.queue = appendFrame(*c.queue, c.role, op, body)
		err = c.enqueue()
	}
	c.mu.Unlock()
	if err != nil {
		c.Abort(err)
	}
}

// writeQueue writes what waits, unless that is more than most bytes, and tells whether it
// did. The caller holds writing.
func (c *Conn) writeQueue(most int) bool {
	c.mu.Lock()
	queue := c.queue
	if queue == nil || len(*queue) > most || c.failed != nil {
		c.mu.Unlock()
		return false
	}
	c.queue = nil
	c.space.Broadcast()
	c.mu.Unlock()
	_, err := c.Conn.Write(*queue)
	giveBuffer(queue)
	if err != nil { // the socket reports it to the reader
		c.mu.Lock()
		c.failed = fmt.Errorf("writing to the network: %w", err)
		c.space.Broadcast()
		c.mu.Unlock()
	}
	return true
}

// due tells whether something can be written.
func (c *Conn) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue != nil && c.failed == nil
}

// flush writes what waits, unless a writer is at work: that one looks again after it let
// go, so nothing is left between the two. The caller himself writes only what the network
// takes at once; anything else is left to a goroutine.
func (c *Conn) flush() {
	for c.due() && c.writing.TryLock() {
		if !c.HasRoom() || !c.writeQueue(inlineWrite) {
			c.flushBehind()
			return
		}
		c.writing.Unlock()
	}
}

// flushLater is flush by a goroutine.
func (c *Conn) flushLater() {
	if c.due() && c.writing.TryLock() {
		c.flushBehind()
	}
}

// flushBehind starts a goroutine that writes as long as there is something to write. The
// caller holds writing, which the goroutine lets go.
func (c *Conn) flushBehind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil { // Wait may be under way, which bears no new goroutines
		c.writing.Unlock()
		return
	}
	c.background.Go(func() {
		for {
			c.writeQueue(math.MaxInt)
			c.writing.Unlock()
			if !c.due() || !c.writing.TryLock() {
				return
			}
		}
	})
}

// Finish closes the connection for the given cause as soon as what waits was written. It does not
// wait for that.
func (c *Conn) Finish(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil { // Wait may be under way, which bears no new goroutines
		return
	}
	c.background.Go(func() {
		c.writing.Lock()
		c.writeQueue(math.MaxInt)
		c.writing.Unlock()
		c.Abort(cause)
	})
}
