// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// headerTime is how long a request's header may take.
const headerTime = 30 * time.Second

// Server is an HTTP/1.1 server on loopback.
type Server struct {
	// Addr is host:port, URL the same with its scheme.
	Addr, URL string

	server *http.Server
	ended  chan error
}

// Serve serves handler at address, with TLS when config is not nil. Port 0 takes a free one.
// What adjust does to the server is done first.
func Serve(ctx context.Context, address string, handler http.Handler, config *tls.Config, adjust ...func(*http.Server)) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening at %s: %w", address, err)
	}
	s := &Server{Addr: listener.Addr().String(), ended: make(chan error, 1)}
	s.URL = "http://" + s.Addr
	if config != nil {
		s.URL = "https://" + s.Addr
	}
	s.server = NewHTTPServer(handler)
	s.server.TLSConfig = config
	for _, f := range adjust {
		f(s.server)
	}
	go func() {
		if config != nil {
			s.ended <- s.server.ServeTLS(listener, "", "")
		} else {
			s.ended <- s.server.Serve(listener)
		}
	}()
	return s, nil
}

// NewHTTPServer returns the server that every end in the benchmarks has: HTTP/1.1 only.
func NewHTTPServer(handler http.Handler) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		Protocols:         protocols,
		// Clients that go away in the middle are part of the game.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

// Close ends the server and its connections, not those that were hijacked.
func (s *Server) Close() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
