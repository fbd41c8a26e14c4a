// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// answer is an API server that says one thing.
func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// elsewhere is a Locator that knows one other replica.
type elsewhere struct {
	replica atomic.Pointer[hub.Replica]
	has     func(cluster string) bool
	asked   atomic.Int32
}

func (e *elsewhere) Locate(_ context.Context, cluster string) (hub.Replica, bool) {
	e.asked.Add(1)
	replica := e.replica.Load()
	if replica == nil || !e.has(cluster) {
		return hub.Replica{}, false
	}
	return *replica, true
}

// twoReplicas returns two hubs, of which the first forwards to the second what it has not.
func twoReplicas(t *testing.T) (first, second *site, locator *elsewhere) {
	t.Helper()
	second = newSite(t, hub.Limits{})
	locator = &elsewhere{has: second.Connected}
	first = newSiteWith(t, hub.Options{Locator: locator})
	private := httptest.NewTLSServer(http.StripPrefix("/hubs", second.ForwardHandler()))
	t.Cleanup(private.Close)
	base, err := url.Parse(private.URL + "/hubs")
	if err != nil {
		t.Fatal(err)
	}
	locator.replica.Store(&hub.Replica{Name: "second", URL: base, Transport: private.Client().Transport})
	return first, second, locator
}

func TestARequestReachesAClusterOfAnotherReplica(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	first, second, _ := twoReplicas(t)
	opts := second.options(t, apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Clone(context.WithoutCancel(r.Context()))
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(body)
	})))
	start(t, opts)
	second.await(t, true)
	client := &http.Client{Transport: first.RoundTripper(cluster)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://any/api/v1/a%2Fb?watch=1&x=%20", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusTeapot || string(body) != "body" || err != nil {
		t.Errorf("%s %q, %v", resp.Status, body, err)
	}
	got := <-seen
	if got.Method != http.MethodPut || got.URL.EscapedPath() != "/api/v1/a%2Fb" || got.URL.RawQuery != "watch=1&x=%20" {
		t.Errorf("the API server got %s %s?%s", got.Method, got.URL.EscapedPath(), got.URL.RawQuery)
	}
	if got.Header.Get("X-Kubeprober-Forward") != "" {
		t.Error("the API server got the header of the forwarding")
	}
}

func TestAnUpgradeReachesAClusterOfAnotherReplica(t *testing.T) {
	t.Parallel()
	first, second, _ := twoReplicas(t)
	start(t, second.options(t, apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw := takeUpgrade(w)
		defer func() { _ = conn.Close() }()
		_, _ = io.Copy(conn, rw)
	}))))
	second.await(t, true)
	stream := upgrade(t, first)
	defer func() { _ = stream.Close() }()
	if _, err := io.WriteString(stream, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(stream, got); err != nil || string(got) != "ping" {
		t.Errorf("echo %q, %v", got, err)
	}
}

func TestForwardingIsOneHopAndTellsOfItsEnd(t *testing.T) {
	t.Parallel()
	first, second, locator := twoReplicas(t)
	client := &http.Client{Transport: first.RoundTripper(cluster)}
	if _, err := get(t.Context(), client, "/"); !errors.Is(err, hub.ErrNotConnected) {
		t.Errorf("nobody has the cluster: %v, want %v", err, hub.ErrNotConnected)
	}
	// The other replica lost the tunnel, and whoever locates does not know yet.
	locator.has = func(string) bool { return true }
	_, err := get(t.Context(), client, "/")
	if !errors.Is(err, hub.ErrNotConnected) || !strings.Contains(fmt.Sprint(err), "second") {
		t.Errorf("the other has lost the cluster: %v, want %v", err, hub.ErrNotConnected)
	}
	if n := locator.asked.Load(); n != 2 {
		t.Errorf("replicas were looked for %d times, want 2", n)
	}
	_ = second
	for _, name := range []string{"", "Not A Label"} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.Header.Set("X-Kubeprober-Forward", name)
		w := httptest.NewRecorder()
		second.ForwardHandler().ServeHTTP(w, req)
		if w.Code != http.StatusBadRequest {
			t.Errorf("cluster %q: %d, want 400", name, w.Code)
		}
	}
}

func TestAnAgentKeepsTunnelsToSeveralHubs(t *testing.T) {
	t.Parallel()
	first, second := newSite(t, hub.Limits{}), newSite(t, hub.Limits{})
	opts := first.options(t, apiServer(t, answer("hello")))
	opts.MoreHubs = []string{second.server.URL}
	opts.RootCAs.AddCert(second.server.Certificate())
	start(t, opts)
	for i, s := range []*site{first, second} {
		s.await(t, true)
		if got := text(t, &http.Client{Transport: s.RoundTripper(cluster)}); got != "hello" {
			t.Errorf("hub %d: %q", i, got)
		}
	}
}

func TestADrainingHubFinishesWhatRunsAndItsAgentsReturn(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	s := newSite(t, hub.Limits{})
	next := newSite(t, hub.Limits{})
	// Both hubs are behind one address, as replicas behind a Service are.
	var draining atomic.Bool
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			next.ServeHTTP(w, r)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	opts := s.options(t, apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		_, _ = io.WriteString(w, "done")
	})))
	opts.HubURL = front.URL
	opts.RootCAs.AddCert(front.Certificate())
	start(t, opts)
	s.await(t, true)
	slow := make(chan string, 1)
	go func() {
		resp, err := get(t.Context(), &http.Client{Transport: s.RoundTripper(cluster)}, "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		slow <- fmt.Sprint(string(body), err)
	}()
	<-begun
	draining.Store(true)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.WithoutCancel(t.Context()), 100*time.Millisecond) }()
	next.await(t, true) // while the slow request runs
	if !s.Connected(cluster) {
		t.Error("the tunnel was closed under a request")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("a connect to a draining hub: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	close(finish)
	if got := <-slow; got != "done<nil>" {
		t.Errorf("the slow request: %s", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	s.await(t, false)
	if got := text(t, &http.Client{Transport: next.RoundTripper(cluster)}); got != "done" {
		t.Errorf("through the next hub: %q", got)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	s, client := connected(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-finish
	}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := get(t.Context(), client, "/"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, context.DeadlineExceeded)
	}
	close(finish)
	<-ended
}

func TestPinnedKeys(t *testing.T) {
	t.Parallel()
	sum := func(s *site) string {
		digest := sha256.Sum256(s.server.Certificate().RawSubjectPublicKeyInfo)
		return "sha256//" + base64.StdEncoding.EncodeToString(digest[:])
	}
	other := "sha256//" + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	cases := []struct {
		name  string
		pins  func(s *site) []string
		roots bool
		fails string
	}{
		{"the pinned key needs no authority", func(s *site) []string { return []string{other, sum(s)} }, false, ""},
		{"the pinned key and its authority", func(s *site) []string { return []string{sum(s)} }, true, ""},
		{"another key is refused", func(*site) []string { return []string{other} }, false, "is not pinned"},
		{"another key is refused in spite of its authority", func(*site) []string { return []string{other} }, true, "is not pinned"},
		{"no pin and no authority", func(*site) []string { return nil }, false, "unknown authority"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, hub.Limits{})
			opts := s.options(t, apiServer(t, http.NotFoundHandler()))
			opts.PinnedKeys = tc.pins(s)
			if !tc.roots {
				opts.RootCAs = nil
			}
			log := newLogSink()
			opts.Log = logr.New(log)
			start(t, opts)
			if tc.fails == "" {
				s.await(t, true)
				return
			}
			log.await(t, tc.fails)
			if s.Connected(cluster) {
				t.Error("the cluster is connected")
			}
		})
	}
}

func TestAStreamOutlivesAListWithoutIt(t *testing.T) {
	t.Parallel()
	// The list of an agent that was made before a stream was opened lacks it. Bare
	// remotedialer closes the stream then.
	s := newSite(t, hub.Limits{})
	ws, _, err := s.connectRaw(t, clusterUID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	s.await(t, true)
	result := make(chan string, 1)
	go func() {
		resp, err := get(t.Context(), &http.Client{Transport: s.RoundTripper(cluster)}, "/")
		if err != nil {
			result <- err.Error()
			return
		}
		_ = resp.Body.Close()
		result <- resp.Status
	}()
	if _, _, err := ws.ReadMessage(); err != nil { // the connect
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, rdMessage(8, 0, "")); err != nil {
		t.Fatal(err)
	}
	const id = 1 // the first that remotedialer gives
	if err := ws.WriteMessage(websocket.BinaryMessage, rdData(id, "kubeprober-stream/2\n\x02\x00\x01\x00\x00")); err != nil {
		t.Fatal(err)
	}
	for request := []byte(nil); !bytes.Contains(request, []byte("GET / HTTP/1.1\r\n")); {
		if _, request, err = ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	const response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	if err := ws.WriteMessage(websocket.BinaryMessage, rdData(id, "\x01\x00\x00\x00"+string(rune(len(response)))+response)); err != nil {
		t.Fatal(err)
	}
	if got := <-result; got != "200 OK" {
		t.Errorf("the request on the stream: %s", got)
	}
}

func TestAgentsConnectThroughAProxyAndOverIPv6(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		via  func(t *testing.T, asked chan<- string) *url.URL
	}{
		{"an HTTP proxy", connectProxy(httptest.NewServer)},
		{"an HTTP proxy on IPv6", connectProxy(newIPv6Server)},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			asked := make(chan string, 10)
			s := newSite(t, hub.Limits{})
			opts := s.options(t, apiServer(t, answer("hello")))
			via := tc.via(t, asked)
			opts.Proxy = func(*url.URL) (*url.URL, error) { return via, nil }
			start(t, opts)
			s.await(t, true)
			if got := text(t, &http.Client{Transport: s.RoundTripper(cluster)}); got != "hello" {
				t.Errorf("through the proxy: %q", got)
			}
			if got := <-asked; got != strings.TrimPrefix(s.server.URL, "https://")+" Basic dXNlcjpwYXNz" {
				t.Errorf("the proxy was asked for %q", got)
			}
		})
	}
	t.Run("a hub on IPv6", func(t *testing.T) {
		s := newSite(t, hub.Limits{})
		front := newIPv6Server(s.Hub)
		t.Cleanup(front.Close)
		opts := s.options(t, apiServer(t, answer("hello")))
		opts.HubURL = front.URL
		start(t, opts)
		s.await(t, true)
	})
}

func newIPv6Server(handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		panic(err)
	}
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	return server
}

// connectProxy returns a proxy that tells what it was asked for.
func connectProxy(serve func(http.Handler) *httptest.Server) func(*testing.T, chan<- string) *url.URL {
	return func(t *testing.T, asked chan<- string) *url.URL {
		t.Helper()
		server := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Host + " " + r.Header.Get("Proxy-Authorization")
			far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			near, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
			go func() {
				_, _ = io.Copy(far, near)
				_ = far.Close()
			}()
			_, _ = io.Copy(near, far)
			_ = near.Close()
		}))
		t.Cleanup(server.Close)
		via, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		via.User = url.UserPassword("user", "pass")
		return via
	}
}

func TestSecretsComeFromAFileAndChangeWithIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\n \n")
	if _, err := hub.NewSecretFile(path, time.Minute, logr.Discard()); err == nil {
		t.Error("a file without a secret was taken")
	}
	write("one\n\n two \n")
	file, err := hub.NewSecretFile(path, time.Minute, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	clock := hub.NewTestClock(file)
	expect := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, secret := range file.Secrets() {
			got = append(got, string(secret))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	expect("at first", "one", "two")
	write("three")
	expect("within the same second", "one", "two")
	clock.Advance(2 * time.Second)
	expect("after a change", "three", "one", "two")
	write("")
	clock.Advance(2 * time.Second)
	expect("when the file was emptied", "three", "one", "two")
	clock.Advance(time.Minute)
	expect("after the overlap", "three")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Second)
	expect("without the file", "three")
}

func TestMetricsAndDebugPageShowTheTunnels(t *testing.T) {
	t.Parallel()
	s, client := connected(t, answer("hello"))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collector())
	_ = text(t, client)
	refused := httptest.NewRecorder()
	s.ServeHTTP(refused, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/clusteragent/connect", nil))
	want := `
# HELP kubeprober_tunnel_connects_total Tunnels that were opened.
# TYPE kubeprober_tunnel_connects_total counter
kubeprober_tunnel_connects_total 1
# HELP kubeprober_tunnel_refused_total Connects and streams that were refused, by reason.
# TYPE kubeprober_tunnel_refused_total counter
kubeprober_tunnel_refused_total{reason="secret"} 1
# HELP kubeprober_tunnel_streams Open streams, idle ones too.
# TYPE kubeprober_tunnel_streams gauge
kubeprober_tunnel_streams 1
# HELP kubeprober_tunnel_tunnels Live tunnels.
# TYPE kubeprober_tunnel_tunnels gauge
kubeprober_tunnel_tunnels 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "kubeprober_tunnel_connects_total",
		"kubeprober_tunnel_refused_total", "kubeprober_tunnel_streams", "kubeprober_tunnel_tunnels"); err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	s.DebugHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	var page struct{ Tunnels []hub.TunnelState }
	if err := json.NewDecoder(w.Body).Decode(&page); err != nil || len(page.Tunnels) != 1 {
		t.Fatalf("the page has %d tunnels, %v", len(page.Tunnels), err)
	}
	if state := page.Tunnels[0]; state.Cluster != cluster || state.Streams != 1 || state.ReceivedBytes == 0 || state.SentBytes == 0 {
		t.Errorf("the tunnel is %+v", state)
	}
	s.Disconnect(cluster, "test")
	s.await(t, false)
	waitFor(t, func() bool { // the tunnel ends after it was taken out
		n, err := testutil.GatherAndCount(registry, "kubeprober_tunnel_disconnects_total")
		return err == nil && n == 1
	})
}

func TestTheAgentSpeaksHTTP2ToItsAPIServerAndUpgradesByHTTP1(t *testing.T) {
	t.Parallel()
	protos := make(chan string, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protos <- r.Proto
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, _ := takeUpgrade(w)
		_ = conn.Close()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s := newSite(t, hub.Limits{})
	start(t, s.options(t, restConfig(t, server)))
	s.await(t, true)
	_ = text(t, &http.Client{Transport: s.RoundTripper(cluster)})
	_ = upgrade(t, s).Close()
	if request, upgraded := <-protos, <-protos; request != "HTTP/2.0" || upgraded != "HTTP/1.1" {
		t.Errorf("a request came by %s, an upgrade by %s", request, upgraded)
	}
}
