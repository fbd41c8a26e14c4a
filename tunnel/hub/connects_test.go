// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// metric returns the value of a metric of s, of that reason if it has reasons.
func (s *site) metric(t *testing.T, name, reason string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() != name || reason != "" && m.GetLabel()[0].GetValue() != reason {
				continue
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return 0
}

func (s *site) refused(t *testing.T, reason string) float64 {
	t.Helper()
	return s.metric(t, "kubeprober_tunnel_refused_total", reason)
}

func (s *site) awaitMetric(t *testing.T, name string, want float64) {
	t.Helper()
	waitFor(t, func() bool { return s.metric(t, name, "") == want })
}

// connectLater connects in the background and tells how that ended.
func (s *site) connectLater(t *testing.T) <-chan *http.Response {
	t.Helper()
	result := make(chan *http.Response, 1)
	go func() {
		ws, resp, _ := s.connectRaw(t, clusterUID)
		if ws != nil {
			_ = ws.Close()
		}
		result <- resp
	}()
	return result
}

// holdBind makes the next connect stay with the binder until leave is called.
func (s *site) holdBind() (inside <-chan struct{}, leave func()) {
	entered, left := make(chan struct{}), make(chan struct{})
	s.binder.hold(func() {
		close(entered)
		<-left
	})
	return entered, func() { close(left) }
}

func expectStatus(t *testing.T, resp *http.Response, status int) {
	t.Helper()
	if resp == nil || resp.StatusCode != status {
		t.Errorf("answered %+v, want %d", resp, status)
	}
}

func TestConnectsWithTheRightSecretWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{BindsPerAddress: 1, WaitTimeout: patience, BindTimeout: patience})
	inside, leave := s.holdBind()
	first := s.connectLater(t)
	<-inside
	var others []<-chan *http.Response
	for range 20 {
		others = append(others, s.connectLater(t))
	}
	s.awaitMetric(t, "kubeprober_tunnel_waiting_connects", 20)
	// Who does not know the secret is not among those that wait.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Secret-Key", "guess")
	resp, err := s.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	expectStatus(t, resp, http.StatusUnauthorized)
	if !resp.Close {
		t.Error("the connection of a wrong secret stays open")
	}
	leave()
	for _, result := range append(others, first) {
		expectStatus(t, <-result, http.StatusSwitchingProtocols)
	}
	for _, reason := range []string{"waiting_connects", "waited_too_long"} {
		if n := s.refused(t, reason); n != 0 {
			t.Errorf("%v connects were refused: %s", n, reason)
		}
	}
}

func TestConnectsThatCannotWaitAreAskedToComeBack(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		limits  hub.Limits
		waiting int
		reason  string
	}{
		{"when too many wait", hub.Limits{Binds: 1, Waiting: 1, WaitTimeout: patience, BindTimeout: patience}, 1, "waiting_connects"},
		{"when it takes too long", hub.Limits{Binds: 1, WaitTimeout: 50 * time.Millisecond, BindTimeout: patience}, 0, "waited_too_long"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tc.limits)
			inside, leave := s.holdBind()
			first := s.connectLater(t)
			<-inside
			var waiting []<-chan *http.Response
			for range tc.waiting {
				waiting = append(waiting, s.connectLater(t))
			}
			s.awaitMetric(t, "kubeprober_tunnel_waiting_connects", float64(tc.waiting))
			resp := <-s.connectLater(t)
			expectStatus(t, resp, http.StatusServiceUnavailable)
			if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < 5 || seconds >= 15 {
				t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
			}
			if n := s.refused(t, tc.reason); n != 1 {
				t.Errorf("counted %v times as %s, want once", n, tc.reason)
			}
			leave()
			for _, result := range append(waiting, first) {
				expectStatus(t, <-result, http.StatusSwitchingProtocols)
			}
		})
	}
}

func TestConnectsThatWaitEndWithTheHub(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{Binds: 1, WaitTimeout: patience, BindTimeout: patience})
	inside, leave := s.holdBind()
	first := s.connectLater(t)
	<-inside
	second := s.connectLater(t)
	s.awaitMetric(t, "kubeprober_tunnel_waiting_connects", 1)
	if err := s.Drain(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	expectStatus(t, <-second, http.StatusServiceUnavailable)
	leave()
	expectStatus(t, <-first, http.StatusSwitchingProtocols)
}

func TestAnAgentThatGivesUpLeavesTheQueue(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{Binds: 1, WaitTimeout: patience, BindTimeout: patience})
	inside, leave := s.holdBind()
	first := s.connectLater(t)
	<-inside
	conn := s.dialTLS(t)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n"+
		"Sec-Websocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSecret-Key: "+secret+"\r\nX-Cluster-Name: "+cluster+"\r\nX-Cluster-Uid: "+clusterUID+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	s.awaitMetric(t, "kubeprober_tunnel_waiting_connects", 1)
	_ = conn.Close()
	s.awaitMetric(t, "kubeprober_tunnel_waiting_connects", 0)
	leave()
	expectStatus(t, <-first, http.StatusSwitchingProtocols)
}

// gated returns a site whose server asks the hub about new connections.
func gated(t *testing.T, limits hub.Limits) *site {
	t.Helper()
	s := newSite(t, limits)
	s.server.Close()
	s.server = httptest.NewUnstartedServer(s.Hub)
	s.server.Config.ConnState = s.ConnState
	s.server.StartTLS()
	return s
}

// dialTLS connects and completes the handshake.
func (s *site) dialTLS(t *testing.T) net.Conn {
	t.Helper()
	conn := s.dialTCP(t)
	secured := tls.Client(conn, &tls.Config{RootCAs: s.roots(), ServerName: "example.com", MinVersion: tls.VersionTLS13})
	if err := secured.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secured
}

func (s *site) dialTCP(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// expectClosed returns when the server has hung up.
func expectClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("reading: %v, want an end", err)
	}
}

func TestConnectionsWithoutARequestAreBounded(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		limits hub.Limits
		reason string
	}{
		{"of one address", hub.Limits{UnauthenticatedPerAddress: 2}, "unauthenticated_per_address"},
		{"of all addresses", hub.Limits{Unauthenticated: 2}, "unauthenticated"},
	}
	const pending = "kubeprober_tunnel_unauthenticated_connections"
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := gated(t, tc.limits)
			silent := s.dialTCP(t) // in the handshake of TLS
			shaken := s.dialTLS(t) // after it
			if _, err := io.WriteString(shaken, "GET / HTTP/1.1\r\nHost: hub\r\n"); err != nil {
				t.Fatal(err) // and in the midst of a header
			}
			s.awaitMetric(t, pending, 2)
			expectClosed(t, s.dialTCP(t))
			if n := s.refused(t, tc.reason); n != 1 {
				t.Errorf("counted %v times as %s, want once", n, tc.reason)
			}
			// A complete header frees a place, and so does an end.
			if _, err := io.WriteString(shaken, "\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(shaken), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			expectStatus(t, resp, http.StatusUnauthorized)
			s.awaitMetric(t, pending, 1)
			_ = silent.Close()
			s.awaitMetric(t, pending, 0)
			// Tunnels do not count.
			for range 3 {
				ws, _, err := s.connectRaw(t, clusterUID)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = ws.Close() }()
			}
			s.awaitMetric(t, pending, 0)
		})
	}
}

func TestTurnsAreGivenInOrderAndToAllAddresses(t *testing.T) {
	t.Parallel()
	q := hub.NewTestTurns(hub.Limits{Binds: 2, BindsPerAddress: 1, Waiting: 100, WaitTimeout: patience})
	const large, small, other = "192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1"
	// The address of large has its one turn, and other the second of all.
	leaveLarge, err := q.Enter(t.Context(), large)
	if err != nil {
		t.Fatal(err)
	}
	leaveOther, err := q.Enter(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	type turn struct {
		name  string
		leave func()
	}
	turns := make(chan turn)
	wait := func(name, address string) {
		t.Helper()
		before := q.Waiting()
		go func() {
			leave, err := q.Enter(t.Context(), address)
			if err != nil {
				t.Error(err)
				leave = func() {}
			}
			turns <- turn{name, leave}
		}()
		waitFor(t, func() bool { return q.Waiting() == before+1 })
	}
	wait("large 1", large)
	wait("large 2", large)
	wait("small 1", small)
	wait("small 2", "[2001:db8::ffff]:9") // another address of the same network
	leaveOther()
	expect := func(want string) turn {
		t.Helper()
		got := <-turns
		if got.name != want {
			t.Errorf("%s comes, want %s", got.name, want)
		}
		return got
	}
	small1 := expect("small 1") // large has had its turn
	leaveLarge()
	large1 := expect("large 1")
	small1.leave()
	small2 := expect("small 2")
	large1.leave()
	expect("large 2").leave()
	small2.leave()
	if n := q.Lines(); n != 0 {
		t.Errorf("%d addresses are remembered with nobody there", n)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	busy, err := q.Enter(t.Context(), large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Enter(ended, large); !errors.Is(err, context.Canceled) {
		t.Errorf("an agent that has gone: %v", err)
	}
	busy()
	if n := q.Lines(); n != 0 {
		t.Errorf("%d addresses are remembered after one gave up", n)
	}
}
