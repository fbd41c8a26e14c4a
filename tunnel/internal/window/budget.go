// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"sync"
)

// ErrBudget ends the stream that held the most when its budget was used up.
var ErrBudget = errors.New("the stream was reset: it held the most unread bytes when the tunnel's budget was used up")

// Budget bounds the bytes that a group of Conns hold received and unread. A nil Budget
// bounds nothing.
type Budget struct {
	limit int

	mu    sync.Mutex
	total int
	held  map[*Conn]int
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int) *Budget {
	return &Budget{limit: limit, held: map[*Conn]int{}}
}

// Held returns how many bytes the group holds.
func (b *Budget) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// add books n bytes, which may be negative, on c. When that exceeds the budget, it
// returns the Conn that must go. The caller holds the lock of c.
func (b *Budget) add(c *Conn, n int) (victim *Conn) {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += n
	b.held[c] += n
	if b.held[c] <= 0 {
		delete(b.held, c)
	}
	if b.total <= b.limit {
		return nil
	}
	most := 0
	for conn, held := range b.held {
		if held > most {
			victim, most = conn, held
		}
	}
	return victim
}

// forget takes everything off c.
func (b *Budget) forget(c *Conn) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= b.held[c]
	delete(b.held, c)
}
