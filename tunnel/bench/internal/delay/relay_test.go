// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package delay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/delay"
)

const (
	host   = "127.0.0.1"
	oneWay = 20 * time.Millisecond
)

// echo returns the address of a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func relayed(t *testing.T, window int64) *net.TCPConn {
	t.Helper()
	relay, err := delay.Listen(context.WithoutCancel(t.Context()), host, echo(t), oneWay, window)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := relay.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", relay.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func TestEveryByteArrivesInOrderAndLate(t *testing.T) {
	conn := relayed(t, 1<<20)
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(i >> 8)
	}
	start := time.Now()
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*oneWay {
		t.Errorf("the first byte was back after %s, sooner than %s", took, 2*oneWay)
	}
	if _, err := io.ReadFull(conn, got[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after all bytes: %v, want the end", err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("not the bytes that were sent")
	}
}

func TestTheWindowBoundsWhatPassesInARoundTrip(t *testing.T) {
	const window, size = 256 << 10, 2 << 20
	conn := relayed(t, window)
	start := time.Now()
	go func() {
		_, _ = conn.Write(make([]byte, size))
		_ = conn.CloseWrite()
	}()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	if least := (size/window - 1) * 2 * oneWay; time.Since(start) < least {
		t.Errorf("%d bytes passed in %s, a window of %d allows that in %s", size, time.Since(start), window, least)
	}
}

func TestAWindowSmallerThanAChunkIsRefused(t *testing.T) {
	if _, err := delay.Listen(t.Context(), host, "127.0.0.1:1", oneWay, 1); err == nil {
		t.Error("no error")
	}
}
