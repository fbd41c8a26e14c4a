// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// insideName is set in the environment of the test that runs in a namespace of its own.
const insideName = "WIRE_TEST_INSIDE"

const roundTrip = 50 * time.Millisecond

// inside runs the test of that name again in a network namespace of its own, unless it
// already is in one.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideName) != "" {
		if err := Loopback(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there is no TUN device to lay a wire over: %v", err)
	}
	_ = file.Close()
	t.Setenv(insideName, "yes")
	err = Run(t.Context(), "-test.run=^"+t.Name()+"$")
	if errors.Is(err, ErrNoNamespace) {
		t.Skip(err)
	}
	if err != nil {
		t.Errorf("in the namespace: %v", err)
	}
	return false
}

// connect returns both ends of a connection over the wire.
func connect(t *testing.T) (client, server net.Conn) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(Near, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if conn, err := listener.Accept(); err == nil {
			accepted <- conn
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(Far, port))
	if err != nil {
		t.Fatal(err)
	}
	server, ok := <-accepted
	if !ok {
		t.Fatal("nothing was accepted")
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

func TestBytesPassTheWireWholeAndLate(t *testing.T) {
	if !inside(t) {
		return
	}
	w, err := Open(roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	begun := time.Now()
	client, server := connect(t)
	if took := time.Since(begun); took < roundTrip {
		t.Errorf("the connection was there after %s, before %s", took, roundTrip)
	}
	for range 3 {
		sent := time.Now()
		exchange(t, client, server)
		exchange(t, server, client)
		if took := time.Since(sent); took < roundTrip {
			t.Errorf("there and back took %s, want at least %s", took, roundTrip)
		}
	}
	// Large packets pass as they are.
	want := make([]byte, 32<<20)
	_, _ = rand.Read(want)
	for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() { _, _ = ends[0].Write(want) }()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(ends[1], got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what arrived is not what was sent: %v", err)
		}
	}
}

// exchange sends one byte.
func exchange(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyPacketsToTheFarEndAreTurned(t *testing.T) {
	packet := func(version byte, from, to [addressSize]byte) []byte {
		b := make([]byte, headerSize+minPacket)
		b[headerSize] = version << 4
		copy(b[headerSize+sourceAt:], from[:])
		copy(b[headerSize+destinationAt:], to[:])
		return b
	}
	good := packet(4, near, far)
	if !turn(good) || !bytes.Equal(good, packet(4, far, near)) {
		t.Errorf("the addresses are not swapped: %x", good)
	}
	for name, b := range map[string][]byte{
		"a router is looked for": packet(6, near, far),
		"another destination":    packet(4, near, [addressSize]byte{224, 0, 0, 22}),
		"another source":         packet(4, far, far),
		"too short":              packet(4, near, far)[:headerSize+minPacket-1],
	} {
		before := bytes.Clone(b)
		if turn(b) || !bytes.Equal(b, before) {
			t.Errorf("%s: turned", name)
		}
	}
}
