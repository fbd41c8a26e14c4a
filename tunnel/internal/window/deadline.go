// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"net"
	"sync"
	"time"
)

// deadline tells when its time has come. Its fields are guarded by the lock of the Conn.
type deadline struct {
	changed func(expired bool) // called with the lock held
	expired bool
	timer   *time.Timer
	turn    int // tells a timer that fired too late to be stopped from the current one
}

// set makes t the time. The caller holds lock.
func (d *deadline) set(t time.Time, lock sync.Locker) {
	d.stop()
	wait := time.Until(t)
	d.expire(!t.IsZero() && wait <= 0)
	if t.IsZero() || d.expired {
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		lock.Lock()
		defer lock.Unlock()
		if d.turn == turn {
			d.expire(true)
		}
	})
}

func (d *deadline) expire(expired bool) {
	if d.expired != expired {
		d.expired = expired
		d.changed(expired)
	}
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.readDeadline.set(t, &c.mu)
	c.writeDeadline.set(t, &c.mu)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.readDeadline.set(t, &c.mu)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.writeDeadline.set(t, &c.mu)
	return nil
}
