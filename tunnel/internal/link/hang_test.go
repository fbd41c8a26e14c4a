// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

// unread returns a link on a TCP connection that nobody reads at the other end.
func unread(t *testing.T) *Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	near, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	link := New(socket.New(near, time.Minute, time.Minute, func(error) {}), Config{Role: Agent, MaxStreams: 4})
	link.Start()
	t.Cleanup(func() {
		_ = link.Close()
		_ = far.Close()
		link.Wait()
	})
	return link
}

func TestANetworkThatHangsHoldsNoSenderBeyondItsDeadline(t *testing.T) {
	for _, size := range []int{100, smallSend, 64 << 10} {
		stream := &Stream{link: unread(t), sink: &recorder{}}
		fill := func() <-chan error {
			ended := make(chan error, 1)
			go func() {
				payload := make([]byte, size)
				for {
					if err := stream.Send(payload); err != nil {
						ended <- err
						return
					}
				}
			}()
			return ended
		}
		stream.Expire(true)
		select {
		case err := <-fill():
			if err != os.ErrDeadlineExceeded { //nolint:errorlint // itself, says the contract
				t.Errorf("messages of %d bytes: %v", size, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("messages of %d bytes: the network holds the sender", size)
		}
		stream.Expire(false)
		waits := fill()
		select {
		case err := <-waits:
			t.Errorf("without a deadline: %v", err)
			continue
		case <-time.After(50 * time.Millisecond): // nothing tells that a Send waits
		}
		stream.Cancel()
		if err := <-waits; !errors.Is(err, net.ErrClosed) {
			t.Errorf("canceled: %v", err)
		}
	}
}
