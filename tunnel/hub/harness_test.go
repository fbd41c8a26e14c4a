// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"go.uber.org/goleak"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cluster    = "edge-1"
	clusterUID = "4a1c0f7e-0000-4000-8000-000000000001"
	secret     = "correct horse"
	agentToken = "token-of-the-managed-cluster"
	// patience is how long a test waits for what must happen.
	patience = 20 * time.Second
)

// binder is a hub.Binder that answers what it is told to.
type binder struct {
	mu    sync.Mutex
	err   error
	delay func()
}

func (b *binder) Bind(context.Context, hub.Identity) error {
	b.mu.Lock()
	delay, err := b.delay, b.err
	b.delay = nil
	b.mu.Unlock()
	if delay != nil {
		delay()
	}
	return err
}

// hold makes the next Bind call f first.
func (b *binder) hold(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delay = f
}

func (b *binder) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// site is a hub with a place to mount it and a feed of its events.
type site struct {
	*hub.Hub
	server *httptest.Server
	binder *binder
	events chan hub.Event
}

func newSite(t *testing.T, limits hub.Limits) *site {
	t.Helper()
	return newSiteWith(t, hub.Options{Limits: limits})
}

// newSiteWith returns a site with what opts say and the usual secret and binder.
func newSiteWith(t *testing.T, opts hub.Options) *site {
	t.Helper()
	s := &site{binder: &binder{}, events: make(chan hub.Event, 100)}
	opts.Secrets = func() [][]byte { return [][]byte{[]byte(secret)} }
	opts.Binder = s.binder
	opts.Log = quietAfter(t)
	h, err := hub.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Hub = h
	s.server = httptest.NewTLSServer(h)
	h.Subscribe(func(e hub.Event) { s.events <- e })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		s.server.Close()
	})
	return s
}

func (s *site) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.server.Certificate())
	return pool
}

// await returns when the next event is that cluster is connected or not.
func (s *site) await(t *testing.T, connected bool) hub.Event {
	t.Helper()
	for {
		select {
		case e := <-s.events:
			if e.Connected == connected {
				return e
			}
		case <-time.After(patience):
			t.Fatalf("no event with connected %v", connected)
		}
	}
}

// quietAfter logs to t until t ends.
func quietAfter(t *testing.T) logr.Logger {
	return testr.NewWithOptions(t, testr.Options{Verbosity: 1})
}

// apiServer is a TLS server in the place of a managed cluster's API server.
func apiServer(t *testing.T, handler http.Handler) *rest.Config {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return restConfig(t, server)
}

// restConfig is the agent's way to server.
func restConfig(t *testing.T, server *httptest.Server) *rest.Config {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(agentToken), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := &rest.Config{Host: server.URL, BearerTokenFile: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	t.Cleanup(func() { closeIdle(config) })
	return config
}

// closeIdle closes what client-go keeps for config, so that no goroutine is left.
func closeIdle(config *rest.Config) {
	http1 := rest.CopyConfig(config)
	http1.NextProtos = []string{"http/1.1"}
	for _, c := range []*rest.Config{config, http1} {
		if transport, err := rest.TransportFor(c); err == nil {
			utilnet.CloseIdleConnectionsFor(transport)
		}
	}
}

// options of an agent that the site takes.
func (s *site) options(t *testing.T, config *rest.Config) agent.Options {
	t.Helper()
	target, err := agent.APIServer(config, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	return agent.Options{
		HubURL:  s.server.URL,
		Cluster: cluster,
		UID:     clusterUID,
		Secret:  func() ([]byte, error) { return []byte(secret), nil },
		Version: "v0.1.5",
		Target:  target,
		RootCAs: s.roots(),
		Log:     quietAfter(t),
	}
}

// start runs an agent until the test ends or stop is called.
func start(t *testing.T, opts agent.Options) (stop func()) {
	t.Helper()
	a, err := agent.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("running the agent: %v", err)
			}
		case <-time.After(patience):
			t.Error("the agent does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// connected returns a site with one connected agent in front of handler.
func connected(t *testing.T, handler http.Handler) (*site, *http.Client) {
	t.Helper()
	s := newSite(t, hub.Limits{})
	start(t, s.options(t, apiServer(t, handler)))
	s.await(t, true)
	return s, &http.Client{Transport: s.RoundTripper(cluster)}
}

// logSink records the error lines of an agent.
type logSink struct {
	mu    sync.Mutex
	lines []string
	wake  chan struct{}
}

func newLogSink() *logSink { return &logSink{wake: make(chan struct{}, 1)} }

func (l *logSink) Init(logr.RuntimeInfo)                  {}
func (l *logSink) Enabled(int) bool                       { return true }
func (l *logSink) WithValues(...any) logr.LogSink         { return l }
func (l *logSink) WithName(string) logr.LogSink           { return l }
func (l *logSink) Info(_ int, msg string, kv ...any)      { l.add(fmt.Sprint(msg, kv)) }
func (l *logSink) Error(err error, msg string, kv ...any) { l.add(fmt.Sprint(msg, err, kv)) }

func (l *logSink) add(line string) {
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// await returns when a line says text.
func (l *logSink) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		lines := strings.Join(l.lines, "\n")
		l.mu.Unlock()
		if strings.Contains(lines, text) {
			return
		}
		select {
		case <-l.wake:
		case <-deadline:
			t.Fatalf("the log does not say %q:\n%s", text, lines)
		}
	}
}

// echoBody sends the request's body back while it is still coming in.
func echoBody(w http.ResponseWriter, r *http.Request) {
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, r.Body)
}

// takeUpgrade answers an upgrade and returns the connection.
func takeUpgrade(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		panic(err)
	}
	return conn, rw
}
