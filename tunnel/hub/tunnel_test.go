// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func TestRequestsReachTheAPIServerAsTheAgent(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	_, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://anything.example/api/v1/pods?limit=1%2F2", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization":          "Bearer token-of-the-hub",
		"Proxy-Authorization":    "Basic x",
		"Cookie":                 "session=1",
		"Impersonate-User":       "system:admin",
		"Impersonate-Group":      "system:masters",
		"Impersonate-Extra-Uid":  "1",
		"X-Remote-User":          "system:admin",
		"X-Remote-Extra-Scopes":  "all",
		"Sec-Websocket-Protocol": "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9rZW4",
		"X-Kept":                 "yes",
	} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(body) != "GET /api/v1/pods?limit=1%2F2" {
		t.Errorf("body %q, %v", body, err)
	}
	header := <-seen
	if got := header.Get("Authorization"); got != "Bearer "+agentToken {
		t.Errorf("Authorization is %q, want the agent's own token", got)
	}
	if got := header.Get("Sec-Websocket-Protocol"); got != "v5.channel.k8s.io" {
		t.Errorf("Sec-WebSocket-Protocol is %q", got)
	}
	if header.Get("X-Kept") != "yes" {
		t.Error("an ordinary header was taken out")
	}
	for name := range header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "impersonate-") || strings.HasPrefix(lower, "x-remote-") || lower == "cookie" {
			t.Errorf("header %s arrived", name)
		}
	}
}

func TestWatchEventsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	_, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "event %d\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next: // only once the client has seen the event
			case <-r.Context().Done():
				return
			}
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := get(ctx, client, "/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("event %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		next <- struct{}{}
	}
}

func TestCancelReachesTheAPIServer(t *testing.T) {
	t.Parallel()
	started, gone := make(chan struct{}), make(chan struct{})
	_, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(started)
		<-r.Context().Done()
		close(gone)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := get(ctx, client, "/watch")
	if err != nil {
		t.Fatal(err)
	}
	<-started
	cancel()
	_ = resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the API server still serves a request that was given up")
	}
}

func TestABodyCutShortIsAnError(t *testing.T) {
	t.Parallel()
	_, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("the first part"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	resp, err := get(t.Context(), client, "/list")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("read %q without an error", body)
	}
}

func TestManyLargeTransfersAtOnce(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	_, client := connected(t, http.HandlerFunc(echoBody))
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			sent := make([]byte, size)
			_, _ = rand.Read(sent)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/echo", bytes.NewReader(sent))
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes of %d, %v", len(got), size, err)
			}
		})
	}
	group.Wait()
}

func TestAgentsAreRefused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		change  func(*site, *agent.Options)
		says    string
		binding bool
	}{
		{
			name:   "with a wrong secret",
			change: func(_ *site, o *agent.Options) { o.Secret = func() ([]byte, error) { return []byte("guess"), nil } },
			says:   "401: the secret key is wrong",
		},
		{
			name:   "with an empty secret",
			change: func(_ *site, o *agent.Options) { o.Secret = func() ([]byte, error) { return nil, nil } },
			says:   "401: the secret key is wrong",
		},
		{
			name: "with the binder's text when the name is taken",
			change: func(s *site, _ *agent.Options) {
				s.binder.answer(fmt.Errorf("%w: the name edge-1 belongs to another cluster", hub.ErrRefused))
			},
			says: "403: refused: the name edge-1 belongs to another cluster",
		},
		{
			name:   "without the text of an error that is not theirs",
			change: func(s *site, _ *agent.Options) { s.binder.answer(errors.New("etcd at 10.0.0.1 is down")) },
			says:   "503: the cluster name could not be checked now",
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, hub.Limits{})
			opts := s.options(t, apiServer(t, http.NotFoundHandler()))
			log := newLogSink()
			opts.Log = logr.New(log)
			tc.change(s, &opts)
			start(t, opts)
			log.await(t, tc.says)
			if s.Connected(cluster) {
				t.Error("the cluster is connected")
			}
		})
	}
}

func TestHubRefusesToStart(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		opts hub.Options
	}{
		{"without a secret source", hub.Options{Binder: &binder{}}},
		{"without a binder", hub.Options{Secrets: func() [][]byte { return [][]byte{[]byte("x")} }}},
		{"without a secret", hub.Options{Binder: &binder{}, Secrets: func() [][]byte { return nil }}},
		{"with an empty secret", hub.Options{Binder: &binder{}, Secrets: func() [][]byte { return [][]byte{[]byte("x"), {}} }}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := hub.New(tc.opts); err == nil {
				t.Error("the hub was created")
			}
		})
	}
}

func TestRequestsWithoutATunnelSaySo(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	_, err := get(t.Context(), &http.Client{Transport: s.RoundTripper("nowhere")}, "/version")
	if !errors.Is(err, hub.ErrNotConnected) {
		t.Errorf("%v, want %v", err, hub.ErrNotConnected)
	}
	if s.Disconnect("nowhere", "test") {
		t.Error("Disconnect says that there was a tunnel")
	}
}

func TestNewestTunnelWins(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	start(t, s.options(t, apiServer(t, answer("old"))))
	s.await(t, true)
	client := &http.Client{Transport: s.RoundTripper(cluster)}
	if got := text(t, client); got != "old" {
		t.Fatalf("answer %q", got)
	}
	// The agent of the old tunnel still holds it, as a half-open connection would.
	stop := start(t, s.options(t, apiServer(t, answer("new"))))
	waitFor(t, func() bool { return text(t, client) == "new" })
	stop()
	waitFor(t, func() bool { return text(t, client) == "old" })
	if !s.Connected(cluster) {
		t.Error("the cluster is not connected")
	}
}

func TestDisconnectClosesAtOnceAndTheAgentComesBack(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 10)
	s, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	}))
	resp, err := get(t.Context(), client, "/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	<-started
	if !s.Disconnect(cluster, "Cluster was deleted") {
		t.Error("Disconnect says that there was no tunnel")
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a watch of a closed tunnel ends without an error")
	}
	if e := s.await(t, false); e.Reason != "Cluster was deleted" || e.Cluster != cluster {
		t.Errorf("event %+v", e)
	}
	s.await(t, true)
}

func TestTunnelsAreEndedWhileTransfersRun(t *testing.T) {
	t.Parallel()
	s, client := connected(t, http.HandlerFunc(echoBody))
	for range 3 {
		var group sync.WaitGroup
		for range 4 {
			reader, writer := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/echo", reader)
			group.Go(func() {
				chunk := make([]byte, 32<<10)
				for {
					if _, err := writer.Write(chunk); err != nil {
						return
					}
				}
			})
			group.Go(func() {
				defer func() { _ = reader.Close() }()
				resp, err := client.Do(req)
				if err != nil {
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err == nil {
					t.Error("a transfer that was cut off ends without an error")
				}
			})
		}
		time.AfterFunc(100*time.Millisecond, func() { s.Disconnect(cluster, "test") })
		group.Wait()
		s.await(t, false)
		s.await(t, true)
	}
}

func TestAuthenticateReadsTheHeartbeatsHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Limits{})
	header := func(change func(http.Header)) http.Header {
		h := http.Header{}
		h.Set("X-Cluster-Name", cluster)
		h.Set("X-Cluster-UID", clusterUID)
		h.Set("Secret-Key", secret)
		h.Set("X-Agent-Version", "v0.1.5")
		change(h)
		return h
	}
	cases := []struct {
		name   string
		header http.Header
		status int
	}{
		{"a right request passes", header(func(http.Header) {}), 0},
		{"a wrong secret is unauthorized", header(func(h http.Header) { h.Set("Secret-Key", secret+"x") }), http.StatusUnauthorized},
		{"no secret is unauthorized", header(func(h http.Header) { h.Del("Secret-Key") }), http.StatusUnauthorized},
		{"a wrong secret hides a bad name", header(func(h http.Header) { h.Del("Secret-Key"); h.Del("X-Cluster-Name") }), http.StatusUnauthorized},
		{"no name is a bad request", header(func(h http.Header) { h.Del("X-Cluster-Name") }), http.StatusBadRequest},
		{"a name with a slash is a bad request", header(func(h http.Header) { h.Set("X-Cluster-Name", "a/b") }), http.StatusBadRequest},
		{"a name in capitals is a bad request", header(func(h http.Header) { h.Set("X-Cluster-Name", "Edge") }), http.StatusBadRequest},
		{"a name of 64 characters is a bad request", header(func(h http.Header) { h.Set("X-Cluster-Name", strings.Repeat("a", 64)) }), http.StatusBadRequest},
		{"no UID is a bad request", header(func(h http.Header) { h.Del("X-Cluster-UID") }), http.StatusBadRequest},
		{"an endless version is a bad request", header(func(h http.Header) { h.Set("X-Agent-Version", strings.Repeat("v", 129)) }), http.StatusBadRequest},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			id, err := s.Authenticate(&http.Request{Header: tc.header, RemoteAddr: "192.0.2.1:9"})
			if tc.status == 0 {
				want := hub.Identity{Cluster: cluster, UID: clusterUID, RemoteAddr: "192.0.2.1:9", AgentVersion: "v0.1.5"}
				if err != nil || id != want {
					t.Errorf("%+v, %v, want %+v", id, err, want)
				}
				return
			}
			var refused *hub.AuthError
			if !errors.As(err, &refused) || refused.Status != tc.status {
				t.Errorf("%v, want status %d", err, tc.status)
			}
		})
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	t.Parallel()
	s, client := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	resp, err := get(t.Context(), client, "/watch")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a watch ends without an error")
	}
	_ = resp.Body.Close()
	if _, err := get(t.Context(), client, "/version"); !errors.Is(err, hub.ErrNotConnected) {
		t.Errorf("after the shutdown: %v", err)
	}
}

// get sends a GET through client.
func get(ctx context.Context, client *http.Client, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://ignored"+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// text returns the body of a GET, or its error's text.
func text(t *testing.T, client *http.Client) string {
	t.Helper()
	resp, err := get(t.Context(), client, "/")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// waitFor asks until ok says yes.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	poll(t, 10*time.Millisecond, ok)
}

func poll(t *testing.T, interval time.Duration, ok func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), interval, patience, true, func(context.Context) (bool, error) {
		return ok(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// upgrade opens an upgraded stream through the hub.
func upgrade(t *testing.T, s *site) io.ReadWriteCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/exec", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := s.RoundTripper(cluster).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", resp.Status)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body of a 101 is a %T", resp.Body)
	}
	return conn
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// counter tells how much was written so far.
type counter struct {
	w io.Writer
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}
