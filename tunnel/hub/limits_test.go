// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"

	"github.com/kubeprober/kubeprober/tunnel/hub"
	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
)

// connectRaw opens a websocket to the hub as an agent that need not keep to the rules.
func (s *site) connectRaw(t *testing.T, uid string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: s.server.Client().Transport.(*http.Transport).TLSClientConfig}
	return dialer.DialContext(t.Context(), "wss"+strings.TrimPrefix(s.server.URL, "https"), http.Header{
		"X-Cluster-Name": {cluster},
		"X-Cluster-Uid":  {uid},
		"Secret-Key":     {secret},
	})
}

// rdMessage returns a message of remotedialer.
func rdMessage(kind, conn int64, body string) []byte {
	b := binary.AppendVarint(nil, 1)
	b = binary.AppendVarint(b, conn)
	b = binary.AppendVarint(b, kind)
	return append(b, body...)
}

// rdData returns a data message of remotedialer.
func rdData(conn int64, body string) []byte {
	b := binary.AppendVarint(nil, 1)
	b = binary.AppendVarint(b, conn)
	b = binary.AppendVarint(b, 1)
	return append(binary.AppendVarint(b, 0), body...)
}

func TestHostileAgentsLoseTheirTunnel(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		send func(*websocket.Conn) error
	}{
		{"when they announce clients of their own", func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, rdMessage(4, 0, "other-cluster/1"))
		}},
		{"when they dial into the hub", func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, rdMessage(2, 1, "tcp/127.0.0.1:22"))
		}},
		{"when they pause the hub", func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, rdMessage(6, 1, ""))
		}},
		{"when they send a message without end", func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, rdMessage(1, 1, strings.Repeat("x", 8<<20)))
		}},
		{"when they send text", func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.TextMessage, []byte("hello"))
		}},
		{"when they fall silent", func(*websocket.Conn) error { return nil }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, hub.Limits{IdleTimeout: time.Second})
			ws, _, err := s.connectRaw(t, clusterUID)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ws.Close() }()
			s.await(t, true)
			_ = tc.send(ws) // the hub may hang up in the middle
			s.await(t, false)
			if s.Connected(cluster) {
				t.Error("the cluster is still connected")
			}
		})
	}
}

// rawSession is an agent whose streams are answered by serve.
func rawSession(t *testing.T, s *site, serve func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	ws, _, err := s.connectRaw(t, clusterUID)
	if err != nil {
		t.Fatal(err)
	}
	session := remotedialer.NewClientSessionWithDialer(func(string, string) bool { return true }, ws, serve)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = session.Serve(context.WithoutCancel(t.Context()))
	}()
	t.Cleanup(func() {
		_ = ws.Close()
		<-done
		session.Close()
	})
	s.await(t, true)
}

func TestAgentsThatDoNotAnswerAStreamAreWaitedForOnlySoLong(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		serve func(context.Context, string, string) (net.Conn, error)
		says  string
	}{
		{"a refusal is passed on", func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				_, _ = io.WriteString(far, protocol.Refusal("512 streams are open already"))
				_ = far.Close()
			}()
			return near, nil
		}, "the agent refused the stream: 512 streams are open already"},
		{"silence ends at the dial timeout", func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			context.AfterFunc(t.Context(), func() { _ = far.Close() })
			return near, nil
		}, "did not answer"},
		{"another protocol is not taken for ours", func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				_, _ = io.WriteString(far, "HTTP/1.1 400 Bad Request\r\n\r\n")
				_, _ = io.Copy(io.Discard, far)
			}()
			return near, nil
		}, "not a stream preface"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, hub.Limits{DialTimeout: 300 * time.Millisecond})
			rawSession(t, s, tc.serve)
			_, err := get(t.Context(), &http.Client{Transport: s.RoundTripper(cluster)}, "/version")
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want an error that says %q", err, tc.says)
			}
			if !s.Connected(cluster) {
				t.Error("the tunnel was lost over one stream")
			}
			// remotedialer at the other end must not be closed while it ends a stream.
			waitFor(t, func() bool { return s.Tunnels()[0].Streams == 0 })
		})
	}
}

func TestUnreadBytesOfATunnelAreBounded(t *testing.T) {
	t.Parallel()
	const streams = 8
	const budget = 2 << 20
	const size = 3 << 20 // more than a stream's window
	s := newSite(t, hub.Limits{BufferedBytes: budget})
	start(t, s.options(t, apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.CopyN(w, zeros{}, size)
	}))))
	s.await(t, true)
	client := &http.Client{Transport: s.RoundTripper(cluster)}
	var bodies []io.ReadCloser
	for range streams {
		resp, err := get(t.Context(), client, "/large")
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	defer func() {
		for _, body := range bodies {
			_ = body.Close()
		}
	}()
	// Eight unread streams would hold 8 MiB: some have to go, and one that is read is not
	// among them for ever.
	waitFor(t, func() bool {
		resp, err := get(t.Context(), client, "/large")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		n, err := io.Copy(io.Discard, resp.Body)
		return err == nil && n == size
	})
	failed := 0
	for _, body := range bodies {
		if _, err := io.Copy(io.Discard, body); err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no stream was reset")
	}
	if failed == streams {
		t.Error("all streams were reset")
	}
}

func TestStreamsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	started := make(chan struct{}, 3)
	s := newSite(t, hub.Limits{Streams: 2})
	start(t, s.options(t, apiServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		started <- struct{}{}
		<-release
	}))))
	s.await(t, true)
	client := &http.Client{Transport: s.RoundTripper(cluster)}
	results := make(chan error, 3)
	for range 3 {
		go func() {
			resp, err := get(t.Context(), client, "/slow")
			if err == nil {
				_ = resp.Body.Close()
			}
			results <- err
		}()
	}
	<-started
	<-started
	select {
	case <-started:
		t.Error("a third stream was opened")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestTunnelsOfAnotherIdentityGoWhenTheNameIsBoundAnew(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	old, _, err := s.connectRaw(t, "uid-old")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	s.await(t, true)
	anew, _, err := s.connectRaw(t, "uid-new")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = anew.Close() }()
	if _, _, err := old.ReadMessage(); err == nil {
		t.Error("the old tunnel got a message")
	}
	if !s.Connected(cluster) {
		t.Error("the cluster is not connected")
	}
}

func TestOnlyTheNewestTunnelsAreKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{Tunnels: 2})
	var all []*websocket.Conn
	for range 3 {
		ws, _, err := s.connectRaw(t, clusterUID)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.Close() }()
		all = append(all, ws)
	}
	if _, _, err := all[0].ReadMessage(); err == nil {
		t.Error("the oldest tunnel got a message")
	}
	if got := fmt.Sprint(s.Clusters()); got != "["+cluster+"]" {
		t.Errorf("clusters %s", got)
	}
}

func TestASlowSubscriberHearsTheNewestOfEachCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	seen, proceed := make(chan hub.Event), make(chan struct{})
	unsubscribe := s.Subscribe(func(e hub.Event) {
		seen <- e
		<-proceed
	})
	defer unsubscribe()
	for i := range 3 {
		ws, _, err := s.connectRaw(t, clusterUID)
		if err != nil {
			t.Fatal(err)
		}
		s.await(t, true)
		if i == 0 {
			if e := <-seen; !e.Connected {
				t.Errorf("first event %+v", e)
			}
			// The subscriber is stuck from here on.
		}
		_ = ws.Close()
		s.await(t, false)
	}
	close(proceed)
	for n := 1; ; n++ {
		select {
		case e := <-seen:
			if !e.Connected {
				return // six events came about, and this is how it stands
			}
		case <-time.After(patience):
			t.Fatal("the newest event does not arrive")
		}
		if n > 2 {
			t.Fatal("events are not coalesced")
		}
	}
}

func TestASilentTunnelIsClosed(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{IdleTimeout: 200 * time.Millisecond})
	ws, _, err := s.connectRaw(t, clusterUID) // it never pings
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	s.await(t, true)
	begun := time.Now()
	s.await(t, false)
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}

func TestAnAgentThatDoesNotReadHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	opts := s.options(t, apiServer(t, answer("hello")))
	opts.Cluster = "edge-2"
	start(t, opts)
	s.await(t, true)
	ws, _, err := s.connectRaw(t, clusterUID)
	if err != nil {
		t.Fatal(err)
	}
	s.await(t, true)
	// It answers the opening of one stream, grants much, and reads no more.
	ctx, cancel := context.WithCancel(t.Context())
	stuck := make(chan error, 1)
	body := &counter{w: io.Discard}
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://any/", io.TeeReader(zeros{}, body))
		if err != nil {
			stuck <- err
			return
		}
		resp, err := s.RoundTripper(cluster).RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		stuck <- err
	}()
	if _, _, err := ws.ReadMessage(); err != nil { // the connect
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, rdData(1, "kubeprober-stream/2\n\x02\x10\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	before := int64(-1)
	poll(t, 100*time.Millisecond, func() bool {
		now := body.n.Load()
		stopped := now > 0 && now == before
		before = now
		return stopped
	})
	client := &http.Client{Transport: s.RoundTripper("edge-2")}
	for range 20 {
		if got := text(t, client); got != "hello" {
			t.Errorf("another tunnel answers %q", got)
		}
	}
	// What is asked of the stuck tunnel waits for no socket.
	if n := len(s.Tunnels()); n != 2 {
		t.Errorf("%d tunnels are listed, want 2", n)
	}
	cancel()
	if err := <-stuck; err == nil {
		t.Error("the request to the stuck agent was answered")
	}
	if !s.Disconnect(cluster, "test") {
		t.Error("the stuck tunnel was gone")
	}
	_ = ws.Close()
}

func TestAPausedDownloadThatIsAbortedLeavesNothing(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		_, _ = io.Copy(w, zeros{})
	}))
	resp, err := get(t.Context(), client, "/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	held := -1
	poll(t, 100*time.Millisecond, func() bool { // until nothing more comes
		now := s.Tunnels()[0].BufferedBytes
		stopped := now > 0 && now == held
		held = now
		return stopped
	})
	_ = resp.Body.Close()
	<-ended
	waitFor(t, func() bool {
		state := s.Tunnels()[0]
		return state.Streams == 0 && state.Requests == 0 && state.BufferedBytes == 0
	}) // and goleak looks at both ends
}
