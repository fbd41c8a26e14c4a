// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// The library that is shown here has data races of its own, which would end the tests before they have shown anything.
//go:build !race

package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
)

// The tests of this file show the sharp edges of bare remotedialer v0.6.1 that the tunnel
// guards. One that fails means that remotedialer was mended, and that the guard named in
// the module's README may go.

func TestBareEdge1DialsGoToTheOldestSession(t *testing.T) {
	b := newBare(t)
	old := b.socket(t)
	fresh := b.socket(t)
	arrived := make(chan string, 2)
	for name, ws := range map[string]*websocket.Conn{"old": old, "fresh": fresh} {
		go func() {
			if _, _, err := ws.ReadMessage(); err == nil {
				arrived <- name
			}
		}()
	}
	_ = b.dial(t)
	if got := <-arrived; got != "old" {
		t.Errorf("the dial went to the %s session", got)
	}
}

func TestBareEdge4ARefusedDialEndsTheWholeSession(t *testing.T) {
	b := newBare(t)
	b.refusing(t)
	if err := read(t, b.dial(t)); err == nil {
		t.Error("the dial was served")
	}
	waitFor(t, func() bool { return len(b.server.ListClients()) == 0 })
}

func TestBareEdge5AClearedWriteDeadlineStillClosesTheConnection(t *testing.T) {
	b := newBare(t)
	_ = b.socket(t)
	conn := b.dial(t)
	_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	if err := read(t, conn); err == nil {
		t.Error("the connection lives on")
	}
}

func TestBareEdge6AReadDeadlineWakesNobody(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	conn := b.dial(t)
	result := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		result <- err
	}()
	expectNothing(t, result) // the reader waits
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	expectNothing(t, result)
	send(t, ws, message(1, 2, "x"))
	if err := <-result; err != nil {
		t.Errorf("reading what came after the deadline: %v", err)
	}
	if err := read(t, conn); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading after the deadline: %v, want an error that is no timeout", err)
	}
}

// Edge 3 has nothing to call: the library has no way to close one session. Edge 15 is a race
// that changes no result: only the race detector shows it, and would end the test. Edge 17
// is a setting of the environment at the start of the process.

func TestBareEdge2AnAgentThatDoesNotReadHoldsUpAllOthers(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	clog(t, b.dial(t))
	send(t, ws, message(2, 9, "tcp/any")) // a mistake that ends the session, whose streams are told one by one
	listed := make(chan []string, 1)
	waitFor(t, func() bool { // until the session is being removed
		go func() { listed <- b.server.ListClients() }()
		select {
		case <-listed:
			return false
		case <-time.After(stillness):
			return true
		}
	})
	expectNothing(t, listed)
	_ = ws.Close()
	if got := <-listed; len(got) != 0 {
		t.Errorf("clients %v", got)
	}
}

func TestBareEdge7AWriterThatIsPausedLivesOnForEver(t *testing.T) {
	paused, closed := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		for _, m := range [][]byte{message(2, 1, "tcp/any"), message(6, 1, "")} {
			if err := ws.WriteMessage(websocket.BinaryMessage, m); err != nil {
				t.Error(err)
			}
		}
		<-paused
	}))
	defer web.Close()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	before := waiting()
	source := make(chan net.Conn, 1)
	session := remotedialer.NewClientSessionWithDialer(func(string, string) bool { return true }, ws,
		func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			source <- far
			return near, nil
		})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_, _ = session.Serve(context.WithoutCancel(t.Context()))
	}()
	far := <-source
	go func() {
		defer close(closed)
		for {
			if _, err := far.Write([]byte("x")); err != nil {
				return // the library has closed its end
			}
		}
	}()
	waitFor(t, func() bool { return waiting() > before })
	close(paused) // the hub goes
	<-served
	session.Close()
	_ = ws.Close()
	<-closed
	<-time.After(stillness)
	if waiting() <= before {
		t.Error("the writer has ended")
	}
}

func TestBareEdge8TheOnlyReaderWaitsForTheNetwork(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	clogged, full, other := b.dial(t), b.dial(t), b.dial(t) // 2, 3 and 4
	clog(t, clogged)
	send(t, ws, message(1, 4, "x"))
	if err := read(t, other); err != nil { // though one stream is stuck
		t.Fatal(err)
	}
	for range 3 {
		send(t, ws, message(1, 3, strings.Repeat("x", 1<<20))) // which nobody reads
	}
	_ = full
	result := make(chan error, 1)
	go func() {
		_, err := other.Read(make([]byte, 1))
		result <- err
	}()
	send(t, ws, message(1, 4, "x"))
	expectNothing(t, result)
	go func() { // as soon as the far end reads, all goes on
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	if err := <-result; err != nil {
		t.Errorf("reading after that: %v", err)
	}
}

func TestBareEdge9AListMadeBeforeADialClosesIt(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	conn := b.dial(t)
	send(t, ws, message(8, 0, "")) // the list lacks the connection
	if err := read(t, conn); err == nil || !strings.Contains(err.Error(), "sync") {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestBareEdge10ADialThatFailsSucceedsFirst(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	conn := b.dial(t) // no error, though the agent has not even read of it
	send(t, ws, message(3, 2, "no such place"))
	if err := read(t, conn); err == nil || !strings.Contains(err.Error(), "no such place") {
		t.Errorf("reading: %v", err)
	}
}

func TestBareEdge11AHostileAgentFillsTheMemory(t *testing.T) {
	b := newBare(t)
	ws := b.socket(t)
	conn := b.dial(t)
	const size, pieces = 1 << 20, 16 // eight times what is to be the limit
	go func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil { // PAUSE, which it ignores
				return
			}
		}
	}()
	for range pieces {
		send(t, ws, message(1, 2, strings.Repeat("x", size)))
	}
	send(t, ws, message(3, 2, "EOF"))
	total := 0
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		total += n
		if err != nil {
			break
		}
	}
	if total != size*pieces {
		t.Errorf("%d bytes were held, not all of %d", total, size*pieces)
	}
}

func TestBareEdge12BothEndsGiveTheSameNumber(t *testing.T) {
	local, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	b := newBare(t)
	b.server.ClientConnectAuthorizer = func(string, string) bool { return true }
	ws := b.socket(t)
	conn := b.dial(t) // it has the number 2
	send(t, ws, message(2, 2, "tcp/"+local.Addr().String()))
	accepted, err := local.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	result := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		result <- err
	}()
	send(t, ws, message(1, 2, "for the hub"))
	if err := read(t, accepted); err != nil {
		t.Errorf("the other stream of that number: %v", err)
	}
	expectNothing(t, result)
}

func TestBareEdge13AMessageOfPeersEndsTheSession(t *testing.T) {
	for name, body := range map[string]string{
		"no number":                "other-cluster",
		"a number that is none":    "other-cluster/one",
		"a name that is cut short": strings.Repeat("x", 100) + "/1",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			ws := b.socket(t)
			send(t, ws, message(4, 0, body))
			waitFor(t, func() bool { return len(b.server.ListClients()) == 0 })
		})
	}
}
