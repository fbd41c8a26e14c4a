// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// The library that is shown here has data races of its own, which would end the test before it has shown anything.
//go:build !race

package agent

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
)

func TestBareRemotedialerHangsWhenItsReaderLags(t *testing.T) {
	// On a busy machine the reader may not have fallen behind when the write comes, so one attempt proves nothing.
	for range 10 {
		if bareHangs(t) {
			return
		}
	}
	t.Error("the write ended each time: remotedialer has been mended, and package window may grow simpler")
}

// bareHangs tells whether a write on a bare connection of remotedialer hangs whose reader fell behind and caught up.
func bareHangs(t *testing.T) bool {
	t.Helper()
	f := serveFar(t, func(server *remotedialer.Server) http.Handler { return server })
	local, agentEnd := net.Pipe()
	header := http.Header{}
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(f.url, "http"), header)
	if err != nil {
		t.Fatal(err)
	}
	session := remotedialer.NewClientSessionWithDialer(
		func(string, string) bool { return true }, ws,
		func(context.Context, string, string) (net.Conn, error) { return local, nil })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = session.Serve(context.WithoutCancel(t.Context()))
		session.Close()
	}()
	near := f.dial(t, "tcp", "any")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, agentEnd)
	}()
	hangs := !lagging(t, near, agentEnd)
	_ = near.Close()
	<-drained // one after the other: remotedialer closes without locks
	_ = agentEnd.Close()
	_ = ws.Close()
	<-done
	return hangs
}
