// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	patience = 10 * time.Second
	// stillness is for how long nothing must happen to be held never to happen.
	stillness = 300 * time.Millisecond
)

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
	if kind == 1 || kind == 2 {
		b = binary.AppendVarint(b, 0) // a time that nobody looks at
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

// expectNothing tells of anything that comes in the next while.
func expectNothing[T any](t *testing.T, from <-chan T) {
	t.Helper()
	select {
	case got := <-from:
		t.Errorf("got %v", got)
	case <-time.After(stillness):
	}
}

// clog makes the server write to conn until the socket takes no more.
func clog(t *testing.T, conn net.Conn) {
	t.Helper()
	var written atomic.Int64
	go func() {
		piece := make([]byte, 64<<10)
		for {
			if _, err := conn.Write(piece); err != nil {
				return
			}
			written.Add(1)
		}
	}()
	before := int64(-1)
	err := wait.PollUntilContextTimeout(t.Context(), stillness, patience, true, func(context.Context) (bool, error) {
		now := written.Load()
		// On a busy machine, no progress may also mean that the writer had no turn.
		stopped := now > 0 && now == before && goroutines("[IO wait", ".waitWrite(") > 0
		before = now
		return stopped, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waiting returns how many goroutines of the process wait to be resumed by a peer.
func waiting() int { return goroutines("(*backPressure).Wait(") }

// goroutines returns how many goroutines of the process have all the texts in their state and stack.
func goroutines(texts ...string) int {
	var dump bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&dump, 2) // to memory
	count := 0
	for one := range strings.SplitSeq(dump.String(), "\n\n") {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(one, text) }) {
			count++
		}
	}
	return count
}
