// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/rancher/remotedialer"
	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/internal/link"
	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
	"github.com/kubeprober/kubeprober/tunnel/internal/window/windowtest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

// far is a remotedialer server at the far end of an agent's tunnel.
type far struct {
	server  *remotedialer.Server
	url     string
	streams sync.WaitGroup
}

// newFar has a link answer the pings of agents: remotedialer's own handler of pings races with what it writes.
func newFar(t *testing.T) *far {
	t.Helper()
	return serveFar(t, func(server *remotedialer.Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			linked := &linkedWriter{ResponseWriter: w}
			server.ServeHTTP(linked, r)
			if linked.conn != nil {
				linked.conn.Down(net.ErrClosed)
				linked.conn.Wait()
			}
		})
	})
}

func serveFar(t *testing.T, handler func(*remotedialer.Server) http.Handler) *far {
	t.Helper()
	f := &far{server: remotedialer.New(
		func(*http.Request) (string, bool, error) { return "far", true, nil },
		remotedialer.DefaultErrorWriter,
	)}
	web := httptest.NewServer(handler(f.server))
	t.Cleanup(web.Close)
	f.url = web.URL
	return f
}

// linkedWriter gives whoever hijacks its connection one with a link.
type linkedWriter struct {
	http.ResponseWriter
	conn *link.Conn
}

// Hijack implements http.Hijacker.
func (w *linkedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = link.New(socket.New(conn, patience, patience, func(error) {}), link.Config{Role: link.Hub, MaxStreams: 1000})
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), w.conn.Arm()
}

// dial opens a connection as soon as the tunnel is up.
func (f *far) dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	var conn net.Conn
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var err error
		conn, err = f.server.Dialer("far")(ctx, network, address)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// answer reads the answer to the opening of a stream.
func answer(carrier net.Conn) (rest []byte, err error) {
	var got []byte
	for {
		buf := make([]byte, 256)
		n, readErr := carrier.Read(buf)
		got = append(got, buf[:n]...)
		rest, err := protocol.ParsePreface(got)
		if rest != nil || err != nil {
			return rest, err
		}
		if readErr != nil {
			return nil, readErr
		}
	}
}

// dialStream opens a stream of ours.
func (f *far) dialStream(t *testing.T) *window.Conn {
	t.Helper()
	carrier := f.dial(t, protocol.Network, protocol.KubeAPI)
	rest, err := answer(carrier)
	if err != nil {
		t.Fatal(err)
	}
	pump := windowtest.New(carrier)
	done := make(chan struct{})
	stream := window.New(window.Config{
		Window: protocol.Window,
		Addr:   target{},
		OnDone: func(error) { close(done) },
	})
	pump.Run(stream, rest)
	stream.Start(pump)
	f.streams.Go(func() {
		<-done
		<-pump.Ended // the agent ends a connection first
		pump.Stop()
	})
	return stream
}

// tunnelTo runs one session of an agent to f until the test ends, and returns where its
// streams arrive.
func tunnelTo(t *testing.T, f *far) *listener {
	t.Helper()
	a, err := New(Options{
		HubURL:  f.url,
		Cluster: "edge-1",
		UID:     "uid-1",
		Secret:  func() ([]byte, error) { return []byte("x"), nil },
		Target:  http.NotFoundHandler(),
		Log:     logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newListener()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = a.routes[0].session(ctx, l, make(chan time.Duration, 1))
	}()
	t.Cleanup(func() {
		f.streams.Wait() // remotedialer's server closes a connection without a lock against its writers
		cancel()
		<-done
	})
	return l
}

func TestStreamThroughRemotedialerIsAWellBehavedNetConn(t *testing.T) {
	f := newFar(t)
	l := tunnelTo(t, f)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- conn
		}()
		near := f.dialStream(t)
		agentEnd := <-accepted
		return near, agentEnd, func() {
			_ = near.Close()
			_ = agentEnd.Close()
		}, nil
	})
}

func TestNothingFromTheWireIsDialled(t *testing.T) {
	secretPlace, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secretPlace.Close() }()
	f := newFar(t)
	l := tunnelTo(t, f)
	cases := []struct{ name, network, address string }{
		{"an address of the agent's network", "tcp", secretPlace.Addr().String()},
		{"a port on the target's name", "tcp", "kubeapi:443"},
		{"the target's name in other letters", "tcp", "KubeAPI"},
		{"the target by another network", "unix", "kubeapi"},
		{"no address", "tcp", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name+" is refused", func(t *testing.T) {
			conn := f.dial(t, tc.network, tc.address)
			_, err := answer(conn)
			var refused *protocol.RefusedError
			if !errors.As(err, &refused) || refused.Reason != "no such target" {
				t.Errorf("answer: %v", err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("after the refusal: %v", err)
			}
			_ = conn.Close()
		})
	}
	t.Run("and the tunnel lives on", func(t *testing.T) {
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept()
			accepted <- conn
		}()
		stream := f.dialStream(t)
		_ = stream.Close()
		_ = (<-accepted).Close()
	})
}

// lagging is the situation in which remotedialer loses a wake-up: 8 MiB come in unread,
// something is written, and then everything is read. It returns whether the write ended.
func lagging(t *testing.T, near, agentEnd net.Conn) bool {
	t.Helper()
	const size = 8 << 20
	var sent atomic.Int64
	go func() {
		chunk := make([]byte, 32<<10)
		for sent.Load() < size {
			n, err := agentEnd.Write(chunk)
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}()
	before := int64(0)
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, patience, false, func(context.Context) (bool, error) {
		now := sent.Load()
		stopped := now > 0 && now == before
		before = now
		return stopped, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = near.Write([]byte("hello"))
	}()
	select {
	case <-wrote:
	case <-time.After(200 * time.Millisecond): // nothing tells that a Write is blocked
	}
	if _, err := io.CopyN(io.Discard, near, size); err != nil {
		t.Fatal(err)
	}
	select {
	case <-wrote:
		return true
	case <-time.After(2 * time.Second):
		return false
	}
}

func TestOurStreamGoesOnWhenItsReaderLags(t *testing.T) {
	f := newFar(t)
	l := tunnelTo(t, f)
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	near := f.dialStream(t)
	agentEnd := <-accepted
	if !lagging(t, near, agentEnd) {
		t.Error("the write hangs")
	}
	_ = near.Close()
	_ = agentEnd.Close()
}

func TestConnectURL(t *testing.T) {
	cases := []struct{ address, want, says string }{
		{address: "http://probe-master.kubeprober.svc.cluster.local:8088", want: "ws://probe-master.kubeprober.svc.cluster.local:8088/clusteragent/connect"},
		{address: "https://master.example", want: "wss://master.example/clusteragent/connect"},
		{address: "wss://master.example/kubeprober/", want: "wss://master.example/kubeprober/clusteragent/connect"},
		{address: "ws://master.example/clusteragent/connect", want: "ws://master.example/clusteragent/connect"},
		{address: "master.example:8088", says: "does not start with"},
		{address: "", says: "does not start with"},
		{address: "http://", says: "names no host"},
		{address: "http://user:pw@master.example", says: "only"},
		{address: "http://master.example?x=1", says: "only"},
	}
	for _, tc := range cases {
		t.Run(tc.address, func(t *testing.T) {
			got, err := connectURL(tc.address)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%q, %v, want an error that says %q", got, err, tc.says)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestRefusalsAreRead(t *testing.T) {
	cases := []struct {
		name   string
		resp   http.Response
		after  time.Duration
		says   string
		status int
	}{
		{
			name:   "the text and the wait are kept",
			resp:   http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"7"}}, Body: body("busy\n")},
			after:  7 * time.Second,
			says:   "the hub answered 503: busy",
			status: 503,
		},
		{
			name:   "a wait of a day is cut",
			resp:   http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"86400"}}, Body: body("")},
			after:  longestAsked,
			says:   "the hub answered 429 Too Many Requests",
			status: 429,
		},
		{
			name:   "a wait that is no number is ignored",
			resp:   http.Response{StatusCode: 403, Header: http.Header{"Retry-After": {"soon"}}, Body: body(strings.Repeat("x", 2000))},
			says:   "the hub answered 403: " + strings.Repeat("x", maxReason),
			status: 403,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var refused *refusedError
			err := refusal(&tc.resp)
			if !errors.As(err, &refused) || refused.retryAfter != tc.after || refused.status != tc.status || err.Error() != tc.says {
				t.Errorf("%#v", err)
			}
		})
	}
}

func body(text string) io.ReadCloser { return io.NopCloser(bytes.NewBufferString(text)) }
