// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial returns both ends of a TCP connection.
func dial(t *testing.T) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if near, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

const never = time.Hour

func TestASilentOrStalledConnectionIsClosedAndItsOwnerToldFirst(t *testing.T) {
	cases := []struct {
		name        string
		idle, stall time.Duration
		provoke     func(c *Conn)
	}{
		{"silence", 50 * time.Millisecond, never, func(*Conn) {}},
		{"a write that stalls", never, 50 * time.Millisecond, func(c *Conn) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}},
		{"a silence that is probed", never, never, func(c *Conn) {
			// More than once: the reader's own deadline may be set after the first.
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			for ; c.Cause() == nil; <-ticker.C {
				c.Probe(10 * time.Millisecond)
			}
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name+" ends the connection", func(t *testing.T) {
			near, far := dial(t)
			var down []error
			c := New(near, tc.idle, tc.stall, func(err error) { down = append(down, err) })
			if err := c.Arm(); err != nil {
				t.Fatal(err)
			}
			provoked := make(chan struct{})
			go func() {
				defer close(provoked)
				tc.provoke(c)
			}()
			_, err := c.Read(make([]byte, 1))
			if err == nil || len(down) != 1 || !errors.Is(down[0], os.ErrDeadlineExceeded) || !errors.Is(c.Cause(), os.ErrDeadlineExceeded) {
				t.Errorf("the reader gets %v after the owner got %v, the cause is %v", err, down, c.Cause())
			}
			<-provoked
			if err := far.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, far)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the far end's connection is open still")
			}
		})
	}
}

func TestWhatArrivesEndsAProbe(t *testing.T) {
	near, far := dial(t)
	c := New(near, never, never, func(error) {})
	if err := c.Arm(); err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		for range 2 {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}
	}()
	c.Probe(300 * time.Millisecond)
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		t.Fatalf("a connection that was heard is closed: %v", err)
	case <-time.After(600 * time.Millisecond): // twice the time that it was given
	}
	_ = far.Close()
	if err := <-read; err == nil {
		t.Error("the far end is gone, and a read succeeds")
	}
}

func TestForeignDeadlinesDoNothingOnceArmed(t *testing.T) {
	near, far := dial(t)
	c := New(near, never, never, func(error) {})
	past := time.Unix(1, 0)
	if err := c.SetDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline of the handshake: %v", err)
	}
	if err := c.Arm(); err != nil {
		t.Fatal(err)
	}
	for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
		if err := set(past); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := c.Write([]byte{1}); err != nil {
		t.Errorf("writing: %v", err)
	}
}

func TestAFullConnectionHasNoRoom(t *testing.T) {
	near, _ := dial(t)
	c := New(near, never, 200*time.Millisecond, func(error) {})
	if !c.HasRoom() {
		t.Error("a new connection has no room")
	}
	if err := c.Conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); ; {
		if _, err := c.Conn.Write(chunk); err != nil {
			break
		}
	}
	if c.HasRoom() {
		t.Error("a connection whose far end does not read has room")
	}
	pipe, other := net.Pipe()
	defer func() { _, _ = pipe.Close(), other.Close() }()
	if New(pipe, never, never, func(error) {}).HasRoom() {
		t.Error("nobody can know the room of a pipe")
	}
}
