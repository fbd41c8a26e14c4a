// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame returns a masked websocket frame.
func frame(first byte, body []byte) []byte {
	f := []byte{first}
	switch {
	case len(body) < 126:
		f = append(f, maskBit|byte(len(body)))
	case len(body) < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, maskBit|126), uint16(len(body)))
	default:
		f = binary.BigEndian.AppendUint64(append(f, maskBit|127), uint64(len(body)))
	}
	mask := []byte{1, 2, 3, 4}
	f = append(f, mask...)
	for i, b := range body {
		f = append(f, b^mask[i%4])
	}
	return f
}

// message returns the body of a remotedialer message.
func message(kind int64, size int) []byte {
	b := binary.AppendVarint(nil, 1<<62) // the longest of IDs
	b = binary.AppendVarint(b, 7)
	b = binary.AppendVarint(b, kind)
	return append(b, make([]byte, size)...)
}

func TestWhatAnAgentMaySend(t *testing.T) {
	const final = finalBit | opBinary
	parts := append(frame(opBinary, message(typeData, 100)), frame(finalBit|opPing, []byte("in between"))...)
	parts = append(parts, frame(finalBit|opContinuation, make([]byte, 50))...)
	cases := []struct {
		name string
		wire []byte
		ok   bool
	}{
		{"data", frame(final, message(typeData, 64<<10)), true},
		{"an error", frame(final, message(typeError, 100)), true},
		{"its list of streams", frame(final, message(typeSyncConnections, 8*512)), true},
		{"a message in parts with a ping between them", parts, true},
		{"a close", frame(finalBit|opClose, []byte{3, 232}), true},
		{"a connect", frame(final, message(2, 10)), false},
		{"a peer's client", frame(final, message(4, 10)), false},
		{"a peer's client that left", frame(final, message(5, 10)), false},
		{"a pause", frame(final, message(6, 0)), false},
		{"a resume", frame(final, message(7, 0)), false},
		{"a kind that does not exist", frame(final, message(99, 0)), false},
		{"a huge message", frame(final, message(typeData, maxData)), false},
		{"a huge message in parts", append(frame(opBinary, message(typeData, maxData-100)), frame(finalBit, make([]byte, 200))...), false},
		{"a length beyond all numbers", []byte{final, maskBit | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, false},
		{"a long error", frame(final, message(typeError, maxOther)), false},
		{"a list of more streams than there can be", frame(final, message(typeSyncConnections, 16*512+64)), false},
		{"an unmasked frame", []byte{final, 1, 0}, false},
		{"text", frame(finalBit|1, []byte("hello")), false},
		{"reserved bits", frame(final|0x40, message(typeData, 1)), false},
		{"a message without a type", frame(final, []byte{1}), false},
		{"a varint without an end", frame(final, bytes.Repeat([]byte{0x80}, 40)), false},
		{"a continuation of nothing", frame(finalBit|opContinuation, message(typeData, 1)), false},
		{"a message inside a message", append(frame(opBinary, message(typeData, 1)), frame(final, message(typeData, 1))...), false},
		{"a long ping", frame(finalBit|opPing, make([]byte, 126)), false},
		{"a ping in parts", frame(opPing, nil), false},
	}
	for _, tc := range cases {
		for _, step := range []int{1, 3, 1 << 20} {
			t.Run(tc.name, func(t *testing.T) {
				f := newInbound(512)
				var err error
				for rest := bytes.Clone(tc.wire); len(rest) > 0 && err == nil; {
					n := min(step, len(rest))
					_, _, err = f.filter(rest[:n])
					rest = rest[n:]
				}
				if tc.ok && err != nil || !tc.ok && !errors.Is(err, ErrViolation) {
					t.Errorf("in steps of %d: %v", step, err)
				}
			})
		}
	}
}

func TestPingsAreTakenOutAndReturned(t *testing.T) {
	data := frame(finalBit|opBinary, message(typeData, 300))
	wire := append(append(bytes.Clone(data), frame(finalBit|opPing, []byte("one"))...), data...)
	wire = append(wire, frame(finalBit|opPong, []byte("x"))...)
	wire = append(wire, frame(finalBit|opPing, nil)...)
	want := append(bytes.Clone(data), data...)
	for _, step := range []int{1, 5, 1 << 20} {
		f := newInbound(512)
		var got []byte
		var pings []string
		for rest := bytes.Clone(wire); len(rest) > 0; {
			n := min(step, len(rest))
			kept, ping, err := f.filter(rest[:n])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rest[:kept]...)
			if ping != nil {
				pings = append(pings, string(ping))
			}
			rest = rest[n:]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("in steps of %d: what passed is not the data", step)
		}
		if last := pings[len(pings)-1]; last != "" {
			t.Errorf("in steps of %d: pings %q", step, pings)
		}
	}
}

func TestPongsGoBetweenFrames(t *testing.T) {
	hubEnd, agentEnd := net.Pipe()
	sock := socket.New(hubEnd, time.Minute, time.Minute, func(error) {})
	if err := sock.Arm(); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	g := New(sock, 512, func() { close(begun) })
	var group sync.WaitGroup
	group.Go(func() { _, _ = io.Copy(io.Discard, g) })
	<-begun
	body := make([]byte, 300)
	header := binary.BigEndian.AppendUint16([]byte{finalBit | opBinary, 126}, uint16(len(body)))

	ping := make(chan struct{})
	group.Go(func() {
		_, _ = agentEnd.Write(frame(finalBit|opPing, []byte("hi")))
		close(ping)
	})
	// A frame in two writes, with the ping's answer due in the middle of it.
	got := make(chan []byte)
	group.Go(func() {
		buf := make([]byte, len(header)+len(body)+4)
		_, _ = io.ReadFull(agentEnd, buf)
		got <- buf
	})
	if _, err := g.Write(header); err != nil {
		t.Fatal(err)
	}
	<-ping
	if _, err := g.Write(body); err != nil {
		t.Fatal(err)
	}
	pong := []byte{finalBit | opPong, 2, 'h', 'i'}
	whole := append(bytes.Clone(header), body...)
	if b := <-got; !bytes.Equal(b, append(bytes.Clone(whole), pong...)) && !bytes.Equal(b, append(bytes.Clone(pong), whole...)) {
		t.Errorf("the pong is neither before nor after the frame: %x", b)
	}
	_ = g.Close()
	_ = agentEnd.Close()
	group.Wait()
}

func FuzzInbound(f *testing.F) {
	f.Add(frame(finalBit|opBinary, message(typeData, 10)), 1)
	f.Add(append(frame(opBinary, message(typeData, 3)), frame(finalBit, []byte("rest"))...), 2)
	f.Add(frame(finalBit|opPing, []byte("hi")), 3)
	f.Add(frame(finalBit|opClose, nil), 4)
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		whole := newInbound(4)
		all := bytes.Clone(wire)
		kept, _, wholeErr := whole.filter(all)
		step = max(step%7, 1)
		pieces := newInbound(4)
		var got []byte
		var err error
		for rest := bytes.Clone(wire); len(rest) > 0 && err == nil; {
			n := min(step, len(rest))
			var k int
			k, _, err = pieces.filter(rest[:n])
			got = append(got, rest[:k]...)
			rest = rest[n:]
		}
		if (wholeErr == nil) != (err == nil) {
			t.Fatalf("whole: %v, in pieces: %v", wholeErr, err)
		}
		if err == nil && !bytes.Equal(all[:kept], got) {
			t.Fatalf("whole lets %x pass, in pieces %x", all[:kept], got)
		}
	})
}
