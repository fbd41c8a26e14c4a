// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrBudget ends the stream that held the most when its budget was used up.
var ErrBudget = errors.New("the stream was reset: it held the most unread bytes when the tunnel's budget was used up")

// Budget bounds the bytes that a group of Conns hold received and unread, and what their
// windows may grow by, which is half as much. A nil Budget bounds nothing.
type Budget struct {
	limit int64
	total atomic.Int64
	lent  atomic.Int64

	mu    sync.Mutex
	conns map[*Conn]struct{} // nil before the first
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int) *Budget {
	return &Budget{limit: int64(limit)}
}

// Held returns how many bytes the group holds.
func (b *Budget) Held() int { return int(b.total.Load()) }

func (b *Budget) enter(c *Conn) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		b.conns = map[*Conn]struct{}{}
	}
	b.conns[c] = struct{}{}
}

// leave takes c out, and everything off it. The caller holds the lock of c.
func (b *Budget) leave(c *Conn) {
	if b == nil {
		return
	}
	b.total.Add(-c.held.Swap(0))
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// settle takes back what the window of c was lent. The caller holds the lock of c.
func (b *Budget) settle(c *Conn) {
	if b == nil {
		return
	}
	b.lent.Add(-int64(c.grown))
	c.grown = 0
}

// grow lends a window n bytes, when there are as many.
func (b *Budget) grow(n int) bool {
	if b == nil {
		return true
	}
	if b.lent.Add(int64(n)) > b.limit/2 {
		b.lent.Add(-int64(n))
		return false
	}
	return true
}

// add books n bytes, which may be negative, on c. When that exceeds the budget, it
// returns the Conn that must go. The caller holds the lock of c.
func (b *Budget) add(c *Conn, n int) (victim *Conn) {
	if b == nil {
		return nil
	}
	c.held.Add(int64(n))
	if total := b.total.Add(int64(n)); n <= 0 || total <= b.limit {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var most int64
	for conn := range b.conns {
		if held := conn.held.Load(); held > most {
			victim, most = conn, held
		}
	}
	return victim
}
