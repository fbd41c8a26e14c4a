// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWritesEndAtTheirDeadlineWhenTheNetworkHangs(t *testing.T) {
	f := newFar(t)
	way := newRelay(t, strings.TrimPrefix(f.url, "http://"))
	f.url = "http://" + way.listener.Addr().String()
	l := tunnelTo(t, f)
	open := func() (near, agentEnd net.Conn) {
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept()
			accepted <- conn
		}()
		near = f.dialStream(t)
		agentEnd = <-accepted
		// With the first byte the agent has the credit of the stream.
		if _, err := agentEnd.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return near, agentEnd
	}
	// More than the queues of the two ends and of the kernel between them take.
	const streams, each = 16, 1 << 20
	var ends []net.Conn
	var writers, readers sync.WaitGroup
	start := make(chan struct{})
	for range streams {
		near, agentEnd := open()
		ends = append(ends, near, agentEnd)
		writers.Go(func() {
			<-start
			if n, err := agentEnd.Write(make([]byte, each)); err != nil || n != each {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
		})
		readers.Go(func() {
			if n, err := io.CopyN(io.Discard, near, each); err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
		})
	}
	near, agentEnd := open()
	ends = append(ends, near, agentEnd)
	way.hold(true)
	close(start)
	for _, size := range []int{1, 4 << 10, 64 << 10} {
		if err := writeUntilDeadline(t, agentEnd, size); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing %d bytes: %v, want %v", size, err, os.ErrDeadlineExceeded)
		}
	}
	way.hold(false)
	writers.Wait()
	readers.Wait()
	// The stream whose writes were given up goes on.
	if err := agentEnd.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, near) }()
	if _, err := agentEnd.Write(make([]byte, each)); err != nil {
		t.Errorf("once the network is back: %v", err)
	}
	for _, end := range ends {
		_ = end.Close()
	}
}

// writeUntilDeadline writes to conn, with a deadline for each write, until one is missed. A
// write that outlives its deadline fails the test.
func writeUntilDeadline(t *testing.T, conn net.Conn, size int) error {
	t.Helper()
	for range 1 << 16 {
		if err := conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(make([]byte, size))
			wrote <- err
		}()
		select {
		case err := <-wrote:
			if err != nil {
				return err
			}
		case <-time.After(stallTime / 3):
			t.Fatalf("a write of %d bytes outlives its deadline of 100 ms by far", size)
		}
	}
	return nil
}
