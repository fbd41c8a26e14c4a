// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// health answers the kubelet. A pod is ready when it runs with a valid configuration: the
// master being away is no fault of the pod, and restarting it would not help. Whether the
// tunnel is up is told at /connected.
type health struct {
	server    *http.Server
	served    chan error
	connected atomic.Pointer[func() bool]
}

func startHealth(ctx context.Context, address string, log logr.Logger) (*health, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for health probes on %s: %w", address, err)
	}
	h := &health{served: make(chan error, 1)}
	mux := http.NewServeMux()
	alive := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", alive)
	mux.HandleFunc("GET /connected", h.serveConnected)
	h.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(log), slog.LevelWarn),
	}
	go func() { h.served <- h.server.Serve(listener) }()
	return h, nil
}

// watch tells whom to ask for the tunnel.
func (h *health) watch(connected func() bool) { h.connected.Store(&connected) }

func (h *health) serveConnected(w http.ResponseWriter, _ *http.Request) {
	if connected := h.connected.Load(); connected != nil && (*connected)() {
		answer(w, http.StatusOK, "connected")
		return
	}
	answer(w, http.StatusServiceUnavailable, "not connected")
}

func answer(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // a client that has gone needs no answer
}

func (h *health) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if serveErr := <-h.served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
