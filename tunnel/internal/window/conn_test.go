// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"github.com/kubeprober/kubeprober/tunnel/internal/window/windowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type testAddr struct{}

func (testAddr) Network() string { return "test" }
func (testAddr) String() string  { return "test" }

// over returns a Conn that runs on carrier, and what ends the carrier.
func over(carrier net.Conn, window, maxWindow int) (*Conn, func()) {
	pump := windowtest.New(carrier)
	done := make(chan struct{})
	c := New(Config{Window: window, MaxWindow: maxWindow, Addr: testAddr{}, OnDone: func(error) { close(done) }})
	pump.Run(c, nil)
	c.Start(pump)
	return c, func() {
		_ = c.Close()
		<-done
		pump.Stop()
	}
}

// pair returns two connected Conns with windows of the given size.
func pair(window int) (a, b *Conn, stop func()) {
	carrierA, carrierB := net.Pipe()
	a, stopA := over(carrierA, window, window)
	b, stopB := over(carrierB, window, window)
	return a, b, func() {
		_ = b.Close()
		stopA()
		stopB()
	}
}

func TestConnIsAWellBehavedNetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b, stop := pair(64 << 10)
		return a, b, stop, nil
	})
}

func TestEndsAreTold(t *testing.T) {
	cases := []struct {
		name string
		end  func(a *Conn, carrier net.Conn)
		read error // what the other end reads after the data
	}{
		{"a closed stream ends with EOF after its data", func(a *Conn, _ net.Conn) { _ = a.Close() }, io.EOF},
		{"a half-closed stream ends with EOF after its data", func(a *Conn, _ net.Conn) { _ = a.CloseWrite() }, io.EOF},
		{"a carrier that broke off is not an EOF", func(_ *Conn, carrier net.Conn) { _ = carrier.Close() }, io.ErrUnexpectedEOF},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			carrierA, carrierB := net.Pipe()
			a, stopA := over(carrierA, 4096, 4096)
			b, stopB := over(carrierB, 4096, 4096)
			if _, err := a.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 10)
			if _, err := io.ReadFull(b, got); err != nil || string(got) != "last words" {
				t.Fatalf("read %q, %v", got, err)
			}
			tc.end(a, carrierA)
			if _, err := b.Read(got); !errors.Is(err, tc.read) {
				t.Errorf("read after the end: %v, want %v", err, tc.read)
			}
			_ = a.Close()
			stopB()
			stopA()
		})
	}
}

func TestDataFlowsBackAfterHalfClose(t *testing.T) {
	a, b, stop := pair(4096)
	defer stop()
	go func() {
		_, _ = io.Copy(b, b)
		_ = b.CloseWrite()
	}()
	sent := bytes.Repeat([]byte("half-close "), 10000)
	go func() {
		_, _ = a.Write(sent)
		_ = a.CloseWrite()
	}()
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("echo of %d bytes: %d bytes, %v", len(sent), len(got), err)
	}
}

func TestWriterIsHeldAtTheWindow(t *testing.T) {
	const size = 8 << 10
	a, b, stop := pair(size)
	defer stop()
	if err := a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := a.Write(make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("writing to a reader that does not read: %v", err)
	}
	if n == 0 || n > size {
		t.Errorf("%d bytes were taken, want at most the window of %d", n, size)
	}
	if err := a.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, b) }()
	if _, err := a.Write(make([]byte, 1<<20)); err != nil {
		t.Errorf("writing once the reader reads: %v", err)
	}
}

func TestADeadlineEndsAWriteThatTheCarrierHolds(t *testing.T) {
	carrier, far := net.Pipe()
	defer func() { _ = far.Close() }()
	pump := windowtest.New(carrier)
	done := make(chan struct{})
	c := New(Config{Window: 4096, Addr: testAddr{}, OnDone: func(error) { close(done) }})
	pump.Run(c, appendHeader(nil, kindCredit, 1<<20))
	c.Start(pump)
	// The far end reads the beginning of what is sent and no more, so that the pump's queue fills up.
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	write := func(size int) (int, error) {
		type result struct {
			n   int
			err error
		}
		wrote := make(chan result, 1)
		go func() {
			n, err := c.Write(make([]byte, size))
			wrote <- result{n, err}
		}()
		pump.AwaitFull() // its time begins when the write waits, however late it had its turn
		if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-wrote:
			return r.n, r.err
		case <-time.After(10 * time.Second):
			t.Fatal("the write outlives its deadline")
			return 0, nil
		}
	}
	n, err := write(1 << 19)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 1<<19 {
		t.Fatalf("wrote %d bytes, %v", n, err)
	}
	if again, err := write(1); !errors.Is(err, os.ErrDeadlineExceeded) || again != 0 {
		t.Fatalf("then wrote %d bytes, %v", again, err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	// What was not sent cost no credit: exactly the rest can be written.
	frames := func(bytes int) int { return (bytes + MaxFrame - 1) / MaxFrame }
	rest := 1<<20 - (headerSize + 1) - n - headerSize*(frames(n)+frames(1<<20-n))
	counted := make(chan int64, 1)
	go func() {
		total, _ := io.Copy(io.Discard, far)
		counted <- total
	}()
	if sent, err := c.Write(make([]byte, rest)); err != nil || sent != rest {
		t.Errorf("then wrote %d bytes of %d, %v", sent, rest, err)
	}
	c.Fail(net.ErrClosed)
	<-done
	pump.Stop()
	if total := <-counted; total < int64(n+rest) {
		t.Errorf("%d bytes arrived of %d", total, n+rest)
	}
}

func TestPeerThatIgnoresItsCreditIsCutOff(t *testing.T) {
	cases := []struct {
		name string
		wire []byte
	}{
		{"more data than the window", append(appendHeader(nil, kindData, 4096), make([]byte, 4096)...)},
		{"a frame larger than any may be", appendHeader(nil, kindData, MaxFrame+1)},
		{"an empty data frame", appendHeader(nil, kindData, 0)},
		{"a kind that does not exist", []byte{9, 0, 0, 0, 0}},
		{"credit without bound", bytes.Repeat(appendHeader(nil, kindCredit, maxCredit), 2)},
		{"data after the end", append(appendHeader(nil, kindFin, 0), appendHeader(nil, kindData, 1)...)},
		{"two closes", append(appendHeader(nil, kindClose, 0), appendHeader(nil, kindClose, 0)...)},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := New(Config{Window: 4096, Addr: testAddr{}})
			if err := c.Feed(tc.wire); !errors.Is(err, ErrProtocol) {
				t.Errorf("Feed: %v, want %v", err, ErrProtocol)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, ErrProtocol) {
				t.Errorf("Write: %v, want %v", err, ErrProtocol)
			}
		})
	}
}

// nowhere is a Carrier that loses everything.
type nowhere struct{}

func (nowhere) Send(...[]byte) error { return nil }
func (nowhere) Cancel()              {}
func (nowhere) Expire(bool)          {}
func (nowhere) Post([]byte)          {}

func TestBudgetEndsTheStreamThatHoldsTheMost(t *testing.T) {
	budget := NewBudget(10 << 10)
	data := func(n int) []byte { return append(appendHeader(nil, kindData, n), make([]byte, n)...) }
	large := New(Config{Window: 64 << 10, Budget: budget, Addr: testAddr{}})
	small := New(Config{Window: 64 << 10, Budget: budget, Addr: testAddr{}})
	large.Start(nowhere{})
	small.Start(nowhere{})
	for _, step := range []struct {
		conn *Conn
		n    int
	}{{large, 7 << 10}, {small, 2 << 10}, {small, 2 << 10}} {
		if err := step.conn.Feed(data(step.n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := large.Read(make([]byte, 1)); !errors.Is(err, ErrBudget) {
		t.Errorf("the largest stream reads %v, want %v", err, ErrBudget)
	}
	if n, err := small.Read(make([]byte, 8<<10)); n != 4<<10 || err != nil {
		t.Errorf("the small stream reads %d, %v", n, err)
	}
	if held := budget.Held(); held != 0 {
		t.Errorf("the budget still holds %d bytes", held)
	}
}

func drain(c *Conn) []byte {
	p := make([]byte, c.in.Len())
	return p[:c.in.Read(p)]
}

func TestBufferGivesBackWhatItTook(t *testing.T) {
	var b buffer
	var want, got []byte
	for i := range 200 {
		piece := bytes.Repeat([]byte{byte(i)}, i*i%(2*chunkSize))
		want = append(want, piece...)
		b.Write(piece)
		p := make([]byte, i*7%chunkSize)
		got = append(got, p[:b.Read(p)]...)
	}
	rest := make([]byte, b.Len())
	got = append(got, rest[:b.Read(rest)]...)
	if !bytes.Equal(got, want) {
		t.Error("the bytes differ")
	}
	if b.Len() != 0 || b.queue != nil {
		t.Errorf("an empty buffer holds %d chunks", len(b.queue))
	}
}

func FuzzFeed(f *testing.F) {
	f.Add(append(appendHeader(nil, kindData, 3), "abc"...), 1)
	f.Add(appendHeader(appendHeader(nil, kindCredit, 100), kindFin, 0), 2)
	f.Add(appendHeader(appendHeader(nil, kindFin, 0), kindClose, 0), 3)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff}, 4)
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		whole := New(Config{Window: 4096, Addr: testAddr{}})
		wholeErr := whole.Feed(wire)
		// The same bytes in pieces mean the same.
		pieces := New(Config{Window: 4096, Addr: testAddr{}})
		var piecesErr error
		step = max(step%7, 1)
		for rest := wire; len(rest) > 0 && piecesErr == nil; {
			n := min(step, len(rest))
			piecesErr = pieces.Feed(rest[:n])
			rest = rest[n:]
		}
		if (wholeErr == nil) != (piecesErr == nil) {
			t.Fatalf("whole: %v, in pieces: %v", wholeErr, piecesErr)
		}
		if held := whole.in.Len(); held > whole.window {
			t.Fatalf("%d bytes are held, the window is %d", held, whole.window)
		}
		if wholeErr == nil && !bytes.Equal(drain(whole), drain(pieces)) {
			t.Fatal("whole and in pieces differ")
		}
	})
}
