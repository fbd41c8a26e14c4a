// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"io"
	"net"
	"testing"
	"time"
)

// far is a connection whose bytes arrive only later.
type far struct {
	net.Conn
	delay time.Duration
	queue chan late
	done  chan struct{}
}

type late struct {
	bytes []byte
	due   time.Time
}

func newFar(conn net.Conn, delay time.Duration) *far {
	f := &far{Conn: conn, delay: delay, queue: make(chan late, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for l := range f.queue {
			timer := time.NewTimer(time.Until(l.due))
			<-timer.C
			if _, err := conn.Write(l.bytes); err != nil {
				continue
			}
		}
		_ = conn.Close()
	}()
	return f
}

func (f *far) Write(p []byte) (int, error) {
	f.queue <- late{append([]byte{}, p...), time.Now().Add(f.delay)}
	return len(p), nil
}

func (f *far) Close() error {
	close(f.queue)
	<-f.done
	return nil
}

func TestAWindowGrowsWithTheLengthOfTheWayAndNotWithASlowReader(t *testing.T) {
	const size, most, total = 8 << 10, 256 << 10, 2 << 20
	connect := func(delay time.Duration) (a, b *Conn, stop func()) {
		carrierA, carrierB := net.Pipe()
		a, stopA := over(newFar(carrierA, delay), size, most)
		b, stopB := over(carrierB, size, most)
		return a, b, func() {
			_ = b.Close()
			stopA()
			stopB()
		}
	}
	windowOf := func(c *Conn) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.window
	}
	t.Run("a long way", func(t *testing.T) {
		a, b, stop := connect(5 * time.Millisecond)
		defer stop()
		go func() { _, _ = a.Write(make([]byte, total)) }()
		if _, err := io.CopyN(io.Discard, b, total); err != nil {
			t.Fatal(err)
		}
		if got := windowOf(b); got != most {
			t.Errorf("the window is %d, want %d", got, most)
		}
	})
	t.Run("a reader that stopped", func(t *testing.T) {
		a, b, stop := connect(0)
		defer stop()
		if err := a.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, _ := a.Write(make([]byte, total))
		if got := windowOf(b); got != size || n > size {
			t.Errorf("the window is %d after %d bytes, want %d", got, n, size)
		}
	})
	t.Run("a budget that is used up", func(t *testing.T) {
		budget := NewBudget(4 * size) // half of it may be lent
		for _, step := range []struct {
			n    int
			want bool
		}{{size, true}, {size, true}, {1, false}} {
			if got := budget.grow(step.n); got != step.want {
				t.Errorf("growing by %d: %v", step.n, got)
			}
		}
		c := New(Config{Window: size, MaxWindow: most, Budget: budget, Addr: testAddr{}})
		c.grown = 2 * size
		budget.settle(c)
		if !budget.grow(2 * size) {
			t.Error("what was given back cannot be lent again")
		}
	})
}
