// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/wait"

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
				f := newInbound(&Conn{role: Hub, totals: &Totals{}, failed: net.ErrClosed, Conn: deaf()}, 512)
				err := takeSteps(&f, tc.wire, step)
				if tc.ok && err != nil || !tc.ok && !errors.Is(err, ErrViolation) {
					t.Errorf("in steps of %d: %v", step, err)
				}
			})
		}
	}
}

// takeSteps gives f the wire in pieces.
func takeSteps(f *inbound, wire []byte, step int) error {
	for rest := bytes.Clone(wire); len(rest) > 0; {
		n := min(step, len(rest))
		if err := f.take(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// passed returns what f has for the websocket library.
func passed(f *inbound) []byte {
	p := make([]byte, len(f.pass))
	return p[:f.deliver(p)]
}

// recorder is a Sink that keeps what arrives. It takes what is worth it directly.
type recorder struct {
	mu    sync.Mutex
	got   []byte
	buf   [1 << 10]byte
	ended bool
}

func (r *recorder) Feed(p []byte)        { r.add(p) }
func (r *recorder) Reserve(n int) []byte { return r.buf[:min(n, len(r.buf))] }
func (r *recorder) Commit(n int)         { r.add(r.buf[:n]) }
func (r *recorder) Ended()               { r.ended = true }

func (r *recorder) add(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, p...)
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.got)
}

func TestDataOfABoundStreamPassesRemotedialerBy(t *testing.T) {
	other := appendFrame(nil, Agent, opBinary, appendDataHead(nil, 8), []byte("of another stream"))
	body := make([]byte, 70000)
	for i := range body {
		body[i] = byte(i * 7)
	}
	bound := appendFrame(nil, Agent, opBinary, appendDataHead(nil, 7), body)
	parts := append(frame(opBinary, append(appendDataHead(nil, 7), "one"...)), frame(finalBit|opContinuation, []byte("two"))...)
	end := frame(finalBit|opBinary, message(typeError, 3))
	wire := slices.Concat(other, bound, parts, other, end)
	for _, step := range []int{1, 7, 4096, 1 << 20} {
		link, got := &Conn{role: Hub, totals: &Totals{}, failed: net.ErrClosed, Conn: deaf()}, &recorder{}
		stream := &Stream{link: link, sink: got}
		link.streams.Store(int64(7), stream)
		f := newInbound(link, 512)
		if err := takeSteps(&f, wire, step); err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Clone(body), "onetwo"...); !bytes.Equal(got.got, want) {
			t.Errorf("in steps of %d: the stream got %d bytes, want %d", step, len(got.got), len(want))
		}
		if want := slices.Concat(other, other, end); !bytes.Equal(passed(&f), want) {
			t.Errorf("in steps of %d: what passed is not the rest", step)
		}
		if !got.ended {
			t.Errorf("in steps of %d: the stream does not know of its end", step)
		}
	}
}

func TestPingsAreAnsweredAndTakenOut(t *testing.T) {
	data := frame(finalBit|opBinary, message(typeData, 300))
	wire := slices.Concat(data, frame(finalBit|opPing, []byte("one")), data,
		frame(finalBit|opPong, []byte("x")), frame(finalBit|opPing, nil))
	for _, step := range []int{1, 5, 1 << 20} {
		hubEnd, agentEnd := net.Pipe()
		link := New(socket.New(hubEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Hub, MaxStreams: 4})
		link.Start()
		var group sync.WaitGroup
		got := make([]byte, 5+10+2)
		group.Go(func() { _, _ = io.ReadFull(agentEnd, got) })
		if err := takeSteps(&link.in, wire, step); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(passed(&link.in), slices.Concat(data, data)) {
			t.Errorf("in steps of %d: what passed is not the data", step)
		}
		group.Wait()
		pong, ping := []byte{finalBit | opPong, 3, 'o', 'n', 'e'}, []byte{finalBit | opPing, 8, 0, 0, 0, 0, 0, 0, 0, 1}
		if want := slices.Concat(pong, ping, []byte{finalBit | opPong, 0}); !bytes.Equal(got, want) {
			t.Errorf("in steps of %d: answered %x, want %x", step, got, want)
		}
		if err := takeSteps(&link.in, frame(finalBit|opPong, ping[2:]), step); err != nil {
			t.Fatal(err)
		}
		if link.stats.RoundTrip.Load() <= 0 {
			t.Errorf("in steps of %d: no round-trip time", step)
		}
		_ = link.Close()
		_ = agentEnd.Close()
		link.Wait()
	}
}

// pipe returns two links that are connected, and what reads from each of them for the
// websocket library.
func pipe(t *testing.T) (hub, agent *Conn, forHub, forAgent *recorder) {
	t.Helper()
	hubEnd, agentEnd := net.Pipe()
	hub = New(socket.New(hubEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Hub, MaxStreams: 4})
	agent = New(socket.New(agentEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Agent, MaxStreams: 4})
	hub.Start()
	agent.Start()
	forHub, forAgent = &recorder{}, &recorder{}
	var group sync.WaitGroup
	read := func(c *Conn, r *recorder) {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			r.add(buf[:n])
			if err != nil {
				return
			}
		}
	}
	group.Go(func() { read(hub, forHub) })
	group.Go(func() { read(agent, forAgent) })
	t.Cleanup(func() {
		_ = hub.Close()
		_ = agent.Close()
		group.Wait()
		hub.Wait()
		agent.Wait()
	})
	return hub, agent, forHub, forAgent
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestAStreamIsNumberedByRemotedialersMessage(t *testing.T) {
	hub, agent, _, forAgent := pipe(t)
	connect := func(id int64) []byte {
		b := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, 9), id), typeConnect)
		return append(binary.AppendVarint(b, deadlineField), "tcp/kubeapi"...)
	}
	atHub, atAgent := &recorder{}, &recorder{}
	hubWay, err := hub.Bind(atHub, func() error {
		// In two writes, as the websocket library may do.
		message := appendFrame(nil, Hub, opBinary, connect(41))
		if _, err := hub.Write(message[:5]); err != nil {
			return err
		}
		_, err := hub.Write(message[5:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connect arrives", func() bool { return len(forAgent.bytes()) > 0 })
	agentWay, err := agent.Bind(atAgent, func() error {
		_, err := agent.Write(appendFrame(nil, Agent, opBinary, appendDataHead(nil, 41), []byte("preface")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, smallSend, smallSend + 1, 64 << 10} {
		payload := bytes.Repeat([]byte{byte(size)}, size)
		if err := hubWay.Send([]byte("head"), payload); err != nil {
			t.Fatal(err)
		}
		if err := agentWay.Send([]byte("head"), payload); err != nil {
			t.Fatal(err)
		}
		agentWay.Post([]byte("post"))
	}
	const each = 1 + 100 + smallSend + smallSend + 1 + 64<<10
	eventually(t, "all arrives at the agent", func() bool { return len(atAgent.bytes()) == each+5*4 })
	eventually(t, "all arrives at the hub", func() bool { return len(atHub.bytes()) == each+5*8+len("preface") })
	if !bytes.HasPrefix(atHub.bytes(), []byte("prefacehead\x01post")) {
		t.Errorf("the order is lost: %q", atHub.bytes()[:20])
	}
	if _, err := hub.Bind(atHub, func() error { return nil }); err == nil {
		t.Error("a stream without a number was bound")
	}
}

func TestWritesOfRemotedialerDoNotWaitForTheNetwork(t *testing.T) {
	hubEnd, agentEnd := net.Pipe() // nobody reads at the other end
	hub := New(socket.New(hubEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Hub, MaxStreams: 4})
	hub.Start()
	message := appendFrame(nil, Hub, opBinary, make([]byte, 1000))
	var err error
	written := 0
	for ; err == nil && written < 10*queueHard; written += len(message) {
		_, err = hub.Write(message)
	}
	if !errors.Is(err, ErrBacklog) || !errors.Is(hub.Cause(), ErrBacklog) {
		t.Errorf("after %d bytes: %v, the connection: %v, want %v", written, err, hub.Cause(), ErrBacklog)
	}
	if written < queueHard || written > 2*queueHard {
		t.Errorf("%d bytes were queued, want about %d", written, queueHard)
	}
	_ = agentEnd.Close()
	hub.Wait()
}

func TestNoByteBeyondTheHandshakeIsGivenAway(t *testing.T) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	early := appendFrame(nil, Hub, opPing, []byte("early"))
	for _, step := range []int{1, 3, 1 << 10} {
		hubEnd, agentEnd := net.Pipe()
		link := New(socket.New(agentEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Agent, MaxStreams: 4})
		var group sync.WaitGroup
		group.Go(func() {
			for rest := append([]byte(answer), early...); len(rest) > 0; {
				n := min(step, len(rest))
				_, _ = hubEnd.Write(rest[:n])
				rest = rest[n:]
			}
		})
		got := make([]byte, 0, 1<<10)
		for len(got) < len(answer) {
			n, err := link.Read(got[len(got):cap(got)])
			if err != nil {
				t.Fatal(err)
			}
			got = got[:len(got)+n]
		}
		if string(got) != answer {
			t.Errorf("in steps of %d: the handshake reads %q", step, got)
		}
		link.Start()
		next := make([]byte, len(early))
		if _, err := io.ReadFull(link, next); err != nil || !bytes.Equal(next, early) {
			t.Errorf("in steps of %d: then comes %x, %v", step, next, err)
		}
		group.Wait()
		_ = link.Close()
		_ = hubEnd.Close()
	}
}

func TestTheListOfStreamsReachesNobody(t *testing.T) {
	// remotedialer would close the streams that were opened after the list was made.
	list := frame(finalBit|opBinary, message(typeSyncConnections, 24))
	parts := append(frame(opBinary, message(typeSyncConnections, 8)), frame(finalBit|opContinuation, make([]byte, 16))...)
	data := frame(finalBit|opBinary, message(typeData, 5))
	for _, step := range []int{1, 7, 1 << 20} {
		f := newInbound(&Conn{role: Hub, totals: &Totals{}, failed: net.ErrClosed, Conn: deaf()}, 512)
		if err := takeSteps(&f, slices.Concat(list, data, parts, data), step); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(passed(&f), slices.Concat(data, data)) {
			t.Errorf("in steps of %d: the list passed", step)
		}
	}
}

func TestADrainingHubSaysSo(t *testing.T) {
	hubEnd, agentEnd := net.Pipe()
	noticed := make(chan time.Duration, 1)
	hub := New(socket.New(hubEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Hub})
	agent := New(socket.New(agentEnd, time.Minute, time.Minute, func(error) {}), Config{Role: Agent, OnDrain: func(d time.Duration) { noticed <- d }})
	hub.Start()
	agent.Start()
	hub.NotifyDrain(3 * time.Second)
	// The websocket library gets it as well, and answers the ping.
	got := make([]byte, 2+len(drainNotice)+len("3000"))
	if _, err := io.ReadFull(agent, got); err != nil || got[0] != finalBit|opPing {
		t.Errorf("read %q, %v", got, err)
	}
	if d := <-noticed; d != 3*time.Second {
		t.Errorf("the hub drains over %v", d)
	}
	for _, odd := range []string{drainNotice, drainNotice + "-1", drainNotice + "x", drainNotice + "99999999999", "x"} {
		agent.onNotice([]byte(odd))
	}
	if len(noticed) > 0 {
		t.Error("an odd notice was taken")
	}
	_ = hub.Close()
	_ = agent.Close()
	hub.Wait()
}

func TestMasking(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for _, size := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 5000} {
		for at := range 4 {
			got := make([]byte, size)
			after := mask(got, key, at)
			for i, b := range got {
				if b != key[(at+i)%4] {
					t.Fatalf("byte %d of %d from position %d is masked with %d", i, size, at, b)
				}
			}
			if after != (at+size)%4 {
				t.Errorf("%d bytes from position %d end at %d", size, at, after)
			}
		}
	}
}

func FuzzInbound(f *testing.F) {
	f.Add(frame(finalBit|opBinary, message(typeData, 10)), 1)
	f.Add(append(frame(opBinary, message(typeData, 3)), frame(finalBit, []byte("rest"))...), 2)
	f.Add(frame(finalBit|opClose, nil), 4)
	f.Add(appendFrame(nil, Hub, opBinary, message(typeConnect, 9)), 5)
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		for _, role := range []Role{Hub, Agent} {
			results := [2]string{}
			for i, size := range []int{max(len(wire), 1), max(step%7, 1)} {
				link, got := &Conn{role: role, totals: &Totals{}, failed: net.ErrClosed, Conn: deaf()}, &recorder{}
				link.streams.Store(int64(7), &Stream{link: link, sink: got})
				in := newInbound(link, 4)
				if err := takeSteps(&in, wire, size); err != nil {
					results[i] = "error"
					continue
				}
				results[i] = fmt.Sprintf("%x %x %v", passed(&in), got.got, got.ended)
			}
			if results[0] != results[1] {
				t.Fatalf("whole: %s, in pieces: %s", results[0], results[1])
			}
		}
	})
}

func FuzzSplitMessage(f *testing.F) {
	f.Add(appendFrame(nil, Agent, opBinary, []byte("hello")))
	f.Add(appendFrame(nil, Hub, opBinary, make([]byte, 300)))
	f.Add([]byte{2, 127, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, head := splitMessage(b)
		if whole < 0 || whole > len(b) || len(head) > maxHead {
			t.Fatalf("%d of %d bytes, %d of head", whole, len(b), len(head))
		}
	})
}

// deaf returns a socket that can only be closed.
func deaf() *socket.Conn { return socket.New(nothing{}, time.Minute, time.Minute, func(error) {}) }

// nothing is a connection that can be closed.
type nothing struct{ net.Conn }

func (nothing) Close() error { return nil }
