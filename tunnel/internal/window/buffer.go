// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import "sync"

// chunkSize is the piece in which a buffer grows and shrinks, in bytes.
const chunkSize = 16 << 10

type chunk struct {
	data       [chunkSize]byte
	start, end int
}

// chunks are shared by all Conns of the process: a stream that is read as fast as it is
// fed needs one or two, an idle one none.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// buffer is a queue of bytes that holds no more memory than its bytes need.
type buffer struct {
	queue []*chunk
	size  int
	next  *chunk // reserved, not in the queue yet
}

// Len returns how many bytes can be read.
func (b *buffer) Len() int { return b.size }

// Write appends p.
func (b *buffer) Write(p []byte) {
	b.size += len(p)
	for len(p) > 0 {
		var tail *chunk
		if n := len(b.queue); n > 0 {
			tail = b.queue[n-1]
		}
		if tail == nil || tail.end == chunkSize {
			tail, _ = chunks.Get().(*chunk) // the pool holds nothing else
			tail.start, tail.end = 0, 0
			b.queue = append(b.queue, tail)
		}
		n := copy(tail.data[tail.end:], p)
		tail.end += n
		p = p[n:]
	}
}

// Reserve returns a buffer of at most n bytes that Commit then appends.
func (b *buffer) Reserve(n int) []byte {
	if b.next == nil {
		b.next, _ = chunks.Get().(*chunk) // the pool holds nothing else
	}
	b.next.start, b.next.end = 0, 0
	return b.next.data[:min(n, chunkSize)]
}

// Commit appends the first n bytes of the buffer reserved last.
func (b *buffer) Commit(n int) {
	if n < chunkSize/4 {
		b.Write(b.next.data[:n]) // a chunk must not be held for little
		chunks.Put(b.next)
		b.next = nil
		return
	}
	b.next.end = n
	b.queue = append(b.queue, b.next)
	b.next = nil
	b.size += n
}

// Read takes up to len(p) bytes off the front and returns how many.
func (b *buffer) Read(p []byte) int {
	total := 0
	for total < len(p) && b.size > 0 {
		head := b.queue[0]
		n := copy(p[total:], head.data[head.start:head.end])
		head.start += n
		total += n
		b.size -= n
		if head.start == head.end {
			chunks.Put(head)
			b.queue[0] = nil
			b.queue = b.queue[1:]
		}
	}
	if b.size == 0 {
		b.queue = nil
	}
	return total
}

// Reset forgets all bytes.
func (b *buffer) Reset() {
	for _, c := range b.queue {
		chunks.Put(c)
	}
	b.queue, b.size = nil, 0
}
