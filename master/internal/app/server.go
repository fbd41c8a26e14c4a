// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// maxHeaderBytes bounds the headers of a request.
	maxHeaderBytes = 32 << 10
	// headerTimeout bounds their arrival; answers have no bound in time, since watches and tunnels last.
	headerTimeout = 5 * time.Second
	// bodyTimeout bounds the arrival of the body of a request whose sender is not known yet.
	bodyTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
	// closeTimeout bounds the wait for requests that are ended, once the time to drain is over.
	closeTimeout = 5 * time.Second
)

// server serves one address until the manager stops it.
type server struct {
	name    string
	address string
	handler http.Handler
	// tls is nil for plain HTTP. It is called when the server starts.
	tls func() (*tls.Config, error)
	// http1 refuses HTTP/2, in which connections cannot be upgraded to tunnels.
	http1 bool
	// leaderOnly tells that of several replicas only the leader serves.
	leaderOnly bool
	// connState bounds the connections of unknown callers. May be nil.
	connState func(net.Conn, http.ConnState)
	// lasts tells of a request that does not end by itself: it is ended as soon as the server stops. Nil for none.
	lasts func(*http.Request) bool
	// onDrain is called when nothing is accepted any more; it returns when what the handler has hijacked is done, or the
	// context ends. May be nil.
	onDrain func(context.Context) error
	// onShutdown ends what the handler has hijacked; the server itself knows nothing of it any more. May be nil.
	onShutdown func(context.Context) error
	// drain bounds the time in which requests under way may end. Nil for none.
	drain *deadline

	// bodyTimeout defaults to the constant.
	bodyTimeout time.Duration

	listening atomic.Bool
}

// Start serves until ctx ends, and returns when all requests have ended or been ended.
func (s *server) Start(ctx context.Context) error {
	log := ctrl.Log.WithName(s.name)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening for the %s: %w", s.name, err)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!s.http1 && s.tls != nil)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           s.withBodyTimeout(s.untilStop(ctx)),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		ConnState:         s.connState,
		BaseContext:       func(net.Listener) context.Context { return ctrl.LoggerInto(base, log) },
		// What it has to say is about single connections: handshakes that failed, and the like.
		ErrorLog: klog.NewStandardLogger("INFO"),
	}
	if s.tls != nil {
		if srv.TLSConfig, err = s.tls(); err != nil {
			return errors.Join(fmt.Errorf("setting up TLS for the %s: %w", s.name, err), listener.Close())
		}
	}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			ended <- srv.ServeTLS(listener, "", "")
		} else {
			ended <- srv.Serve(listener)
		}
	}()
	s.listening.Store(true)
	log.Info("Serving", "address", listener.Addr().String(), "tls", s.tls != nil)
	select {
	case err := <-ended:
		return fmt.Errorf("serving the %s: %w", s.name, err)
	case <-ctx.Done():
	}
	s.listening.Store(false)
	return s.stop(context.WithoutCancel(ctx), srv, ended, cancel)
}

// withBodyTimeout keeps whoever is not known from pinning a connection with a body that never comes: a handler that refuses
// does not read it, and the server waits for it before the next request. Handlers that know the caller set a deadline of
// their own or none, and taking the connection over removes it.
func (s *server) withBodyTimeout(next http.Handler) http.Handler {
	timeout := s.bodyTimeout
	if timeout == 0 {
		timeout = bodyTimeout
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout)); err != nil {
			ctrl.LoggerFrom(r.Context()).Error(err, "Bounding the time of a request failed")
			http.Error(w, "the request could not be bounded in time", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// NeedLeaderElection implements what the manager asks.
func (s *server) NeedLeaderElection() bool { return s.leaderOnly }

// Ready is a readiness check.
func (s *server) Ready(*http.Request) error {
	if !s.listening.Load() {
		return fmt.Errorf("the %s is not listening yet", s.name)
	}
	return nil
}
