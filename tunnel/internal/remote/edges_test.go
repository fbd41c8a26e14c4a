// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// The library that is shown here has data races of its own, which would end the tests before they have shown anything.
//go:build !race

package remote

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The tests of this file show the sharp edges of bare remotedialer v0.6.1 that the tunnel
// guards. One that fails means that remotedialer was mended, and that the guard named in
// the module's README may go.

const patience = 10 * time.Second

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true,
		func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// bare is a plain server, which every agent reaches under one key.
type bare struct {
	server *remotedialer.Server
	url    string
}

func newBare(t *testing.T) *bare {
	t.Helper()
	Harden()
	b := &bare{server: remotedialer.New(
		func(*http.Request) (string, bool, error) { return "key", true, nil },
		remotedialer.DefaultErrorWriter,
	)}
	web := httptest.NewServer(b.server)
	t.Cleanup(web.Close)
	b.url = "ws" + strings.TrimPrefix(web.URL, "http")
	return b
}

// socket opens a websocket to the server and waits until its session is known.
func (b *bare) socket(t *testing.T) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), b.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	waitFor(t, func() bool { return len(b.server.ListClients()) > 0 })
	return ws
}

// refusing serves a session that allows no dial. (The tests use no session that does: its
// ends race with each other.)
func (b *bare) refusing(t *testing.T) {
	t.Helper()
	ws := b.socket(t)
	session := remotedialer.NewClientSession(func(string, string) bool { return false }, ws)
	var served sync.WaitGroup
	served.Go(func() {
		_, _ = session.Serve(context.WithoutCancel(t.Context()))
		session.Close()
		_ = ws.Close() // as remotedialer's own client does
	})
	t.Cleanup(func() {
		_ = ws.Close()
		served.Wait()
	})
}

func (b *bare) dial(t *testing.T) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := b.server.Dialer("key")(ctx, "tcp", "any")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// message is a message of an agent that keeps to no rules.
func message(kind, conn int64, body string) []byte {
	b := binary.AppendVarint(nil, 1)
	b = binary.AppendVarint(b, conn)
	b = binary.AppendVarint(b, kind)
	if kind == 1 {
		b = binary.AppendVarint(b, 0)
	}
	return append(b, body...)
}

func send(t *testing.T, ws *websocket.Conn, b []byte) {
	t.Helper()
	if err := ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatal(err)
	}
}

// read returns what the next read of conn gives, within the patience.
func read(t *testing.T, conn net.Conn) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		t.Fatal("nothing is read")
		return nil
	}
}

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

// Edges 6 and 15 cannot be shown under the race detector: setting a read deadline beside a
// read is itself a data race in remotedialer. Edges 2, 7 and 8 need writes that hang for a
// minute; the deadlock behind 7 and 8 is shown in package agent.

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
