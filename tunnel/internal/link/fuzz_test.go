// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

func FuzzNotice(f *testing.F) {
	f.Add([]byte(drainNotice + "3000"))
	f.Add([]byte(drainNotice + "-1"))
	f.Add([]byte(drainNotice + "99999999999999999999"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		c := New(deaf(), Config{Role: Agent, OnDrain: func(spread time.Duration) {
			if spread < 0 || spread > maxDrain || !strings.HasPrefix(string(body), drainNotice) {
				t.Errorf("%q drains over %s", body, spread)
			}
		}})
		c.onNotice(body)
	})
}

// arriving is a connection on which bytes arrive in pieces.
type arriving struct {
	nothing
	wire []byte
	step int
}

func (a *arriving) Read(p []byte) (int, error) {
	if len(a.wire) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(a.step, len(p))], a.wire)
	a.wire = a.wire[n:]
	return n, nil
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n\x89\x00"), 1, 3)
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n\r\n\r\n"), 100, 1)
	f.Add([]byte("\r\n\r\r\n\r\n\n"), 2, 2)
	f.Fuzz(func(t *testing.T, wire []byte, step, size int) {
		step, size = max(step%64, 1), max(size%64, 1)
		in := &arriving{wire: wire, step: step}
		link := New(socket.New(in, time.Minute, time.Minute, func(error) {}), Config{Role: Agent})
		want := wire
		if end := bytes.Index(wire, endOfHeader); end >= 0 {
			want = wire[:end+len(endOfHeader)]
		}
		// The websocket library reads to the end of the answer's header and no further.
		var got []byte
		for len(got) < len(want) {
			buf := make([]byte, size)
			n, err := link.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the handshake reads %q of %q, want %q", got, wire, want)
		}
		if left := append(bytes.Clone(link.rest), in.wire...); !bytes.Equal(append(got, left...), wire) {
			t.Errorf("%q is left of %q after %q", left, wire, got)
		}
	})
}

var _ net.Conn = (*arriving)(nil)
