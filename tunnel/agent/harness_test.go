// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	testCluster = "edge-1"
	testSecret  = "correct horse"
)

// letIn is a hub.Binder that lets in everybody who has the secret.
type letIn struct{}

func (letIn) Bind(context.Context, hub.Identity) error { return nil }

// site is a hub where agents find it.
type site struct {
	*hub.Hub
	server *httptest.Server
	events chan hub.Event
}

// newSite serves a hub over TLS at address.
func newSite(t *testing.T, address string, limits hub.Limits) *site {
	t.Helper()
	h, err := hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte(testSecret)} },
		Binder:  letIn{},
		Limits:  limits,
		Log:     logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Hub: h, server: serveAt(t, address, h), events: make(chan hub.Event, 100)}
	h.Subscribe(func(e hub.Event) { s.events <- e })
	t.Cleanup(s.stop)
	return s
}

// serveAt serves handler over TLS at address. The test closes it.
func serveAt(t *testing.T, address string, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.StartTLS()
	return server
}

// stop ends the hub, as often as it is called.
func (s *site) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		panic(err)
	}
	s.server.Close()
}

func (s *site) port() string {
	_, port, err := net.SplitHostPort(s.server.Listener.Addr().String())
	if err != nil {
		panic(err)
	}
	return port
}

// await returns when the next event is that the cluster is connected or not.
func (s *site) await(t *testing.T, connected bool) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e := <-s.events:
			if e.Connected == connected {
				return
			}
		case <-timer.C:
			t.Fatalf("no event with connected %v", connected)
		}
	}
}

// roots trusts the certificate that all servers of the tests have: it is good for
// example.com, 127.0.0.1 and ::1.
func roots() *x509.CertPool {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

func optionsFor(hubURL string) Options {
	return Options{
		HubURL:  hubURL,
		Cluster: testCluster,
		UID:     "uid-1",
		Secret:  func() ([]byte, error) { return []byte(testSecret), nil },
		Target:  http.NotFoundHandler(),
		RootCAs: roots(),
	}
}

// start runs an agent until the test ends or stop is called, and returns its log.
func start(t *testing.T, opts Options) (log *lines, stop func()) {
	t.Helper()
	_, log, stop = startAgent(t, opts)
	return log, stop
}

func startAgent(t *testing.T, opts Options) (a *Agent, log *lines, stop func()) {
	t.Helper()
	log = &lines{added: make(chan struct{}, 1)}
	opts.Log = logr.New(log)
	a, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the agent: %v", err)
		}
	})
	t.Cleanup(stop)
	return a, log, stop
}

// lines is a logr.LogSink that keeps what is logged.
type lines struct {
	values []any
	parent *lines

	mu    sync.Mutex
	all   []string
	times []time.Time
	added chan struct{}
}

func (l *lines) Init(logr.RuntimeInfo)                  {}
func (l *lines) Enabled(int) bool                       { return true }
func (l *lines) WithName(string) logr.LogSink           { return l }
func (l *lines) WithValues(kv ...any) logr.LogSink      { return &lines{values: kv, parent: l} }
func (l *lines) Info(_ int, msg string, kv ...any)      { l.add(fmt.Sprint(msg, " ", kv)) }
func (l *lines) Error(err error, msg string, kv ...any) { l.add(fmt.Sprint(msg, ": ", err, " ", kv)) }

func (l *lines) add(line string) {
	if l.parent != nil {
		l.parent.add(fmt.Sprint(line, l.values))
		return
	}
	l.mu.Lock()
	l.all = append(l.all, line)
	l.times = append(l.times, time.Now())
	l.mu.Unlock()
	select {
	case l.added <- struct{}{}:
	default:
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// await returns the log when it says text.
func (l *lines) await(t *testing.T, text string) string {
	t.Helper()
	return l.awaitFor(t, text, patience)
}

func (l *lines) awaitFor(t *testing.T, text string, limit time.Duration) string {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		all := l.text()
		if strings.Contains(all, text) {
			return all
		}
		select {
		case <-l.added:
		case <-timer.C:
			t.Fatalf("the log does not say %q:\n%s", text, all)
		}
	}
}

// relay is a way to a server that can be held: connections stay open, and nothing moves.
type relay struct {
	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	moves sync.Cond
	held  bool
	over  bool
	open  []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener}
	r.moves.L = &r.mu
	r.group.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			_ = near.(*net.TCPConn).SetReadBuffer(32 << 10) // so that little fits in
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			r.group.Go(func() { r.copy(near, far) })
			r.group.Go(func() { r.copy(far, near) })
			r.mu.Lock()
			r.open = append(r.open, near, far)
			r.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		r.mu.Lock()
		r.over = true
		r.moves.Broadcast()
		for _, conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		r.group.Wait()
	})
	return r
}

func (r *relay) hold(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.moves.Broadcast()
}

func (r *relay) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		for r.held && !r.over {
			r.moves.Wait()
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// at returns when the log said line first.
func (l *lines) at(line string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times[slices.Index(l.all, line)]
}
