// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// startServer serves handler until stop is called, which returns what Start returned.
func startServer(t *testing.T, s *server) (address string, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return startServerAt(t, s, address)
}

func startServerAt(t *testing.T, s *server, address string) (string, func() error) {
	t.Helper()
	s.address = address
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(cancel)
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 5*time.Second, true, func(context.Context) (bool, error) {
		return s.Ready(nil) == nil, nil
	})
	if err != nil {
		t.Fatal("the server did not start")
	}
	return s.address, func() error {
		cancel()
		return <-ended
	}
}

func TestServerThatStopsLetsRequestsEndAndEndsThoseThatLast(t *testing.T) {
	release, drained := make(chan struct{}), make(chan struct{})
	var order []string
	s := &server{
		name: "test", drain: &deadline{within: time.Minute},
		lasts: func(r *http.Request) bool { return r.URL.Path == "/watch" },
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				_, _ = io.WriteString(w, "ended")
			case <-release:
				_, _ = io.WriteString(w, "complete")
			}
		}),
		onDrain: func(ctx context.Context) error {
			order = append(order, "drain")
			close(drained)
			return ctx.Err()
		},
		onShutdown: func(ctx context.Context) error {
			order = append(order, "shutdown")
			return ctx.Err()
		},
	}
	address, stop := startServer(t, s)
	client := &http.Client{Timeout: 10 * time.Second}
	get := func(path string) *http.Response {
		response, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response
	}
	watch, request := get("/watch"), get("/request")
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if said, err := io.ReadAll(watch.Body); err != nil || string(said) != "ended" {
		t.Errorf("the watch got %q, %v, want a proper end", said, err)
	}
	<-drained
	if s.Ready(nil) == nil {
		t.Error("a server that stops says that it is ready")
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
		t.Error("a server that stops takes another connection")
		_ = conn.Close()
	}
	close(release)
	if said, err := io.ReadAll(request.Body); err != nil || string(said) != "complete" {
		t.Errorf("the request got %q, %v, want its whole answer", said, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
	if want := []string{"drain", "shutdown"}; !slices.Equal(order, want) {
		t.Errorf("what was hijacked met %v, want %v", order, want)
	}
}

func TestServerEndsWhatDoesNotEndInTime(t *testing.T) {
	s := &server{
		name: "test", drain: &deadline{within: 50 * time.Millisecond},
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			_, _ = io.WriteString(w, "ended")
		}),
		onDrain: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
	address, stop := startServer(t, s)
	response, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if said, err := io.ReadAll(response.Body); err != nil || string(said) != "ended" {
		t.Errorf("the request got %q, %v, want a proper end", said, err)
	}
}

func TestServerBoundsTheBodiesOfUnknownCallers(t *testing.T) {
	const patience = 10 * time.Second
	s := &server{
		name: "test", bodyTimeout: 50 * time.Millisecond,
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
			if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
				t.Errorf("removing the deadline: %v", err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("reading the body: %v", err)
			}
			_, _ = w.Write(body)
		}),
	}
	address, stop := startServer(t, s)
	dial := func(header string) net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"+header+"\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	known := dial("Authorization: yes\r\nConnection: close\r\n")
	defer func() { _ = known.Close() }()
	unknown := dial("")
	defer func() { _ = unknown.Close() }()
	// The body never comes, and the server ends the connection all the same. Then the time is over for both.
	if said, err := io.ReadAll(unknown); err != nil || !strings.Contains(string(said), "401") {
		t.Errorf("an unknown caller got %q, %v, want 401 and the end of the connection", said, err)
	}
	if _, err := io.WriteString(known, "late"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(known); err != nil || !strings.HasSuffix(string(said), "late") {
		t.Errorf("a known caller got %q, %v, want its body back", said, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestServerWithTLSRefusesHTTP2WhereConnectionsAreUpgraded(t *testing.T) {
	issuer := httptest.NewTLSServer(nil)
	defer issuer.Close()
	for name, http1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2.0": false} {
		t.Run(name, func(t *testing.T) {
			s := &server{
				name:    "test",
				http1:   http1,
				handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }),
				tls:     func() (*tls.Config, error) { return &tls.Config{Certificates: issuer.TLS.Certificates}, nil },
			}
			address, stop := startServer(t, s)
			client := &http.Client{Transport: &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			}, Timeout: 10 * time.Second}
			response, err := client.Get("https://" + address)
			if err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(response.Body)
			if err := errors.Join(err, response.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if string(said) != name {
				t.Errorf("spoke %s, want %s", said, name)
			}
			if err := stop(); err != nil {
				t.Errorf("stopping: %v", err)
			}
		})
	}
}
