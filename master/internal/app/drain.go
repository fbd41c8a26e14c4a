// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// spreadPerTunnel, minSpread and maxSpread say over which time the agents of a hub that stops come back: the next one
	// takes about 330 a second without haste. It is not there at once: who comes too early waits longer each time.
	spreadPerTunnel = 3 * time.Millisecond
	minSpread       = 4 * time.Second
	maxSpread       = 30 * time.Second
	// leastDrain is what a server has even if the one before used all of the time: agents are told to come back in it.
	leastDrain = time.Second
)

// spread is the time over which the agents of so many tunnels are to come back.
func spread(tunnels int) time.Duration {
	return min(max(time.Duration(tunnels)*spreadPerTunnel, minSpread), maxSpread)
}

// deadline is the one time by which all servers have drained, one after the other. It begins to run when the first of them
// is told to stop.
type deadline struct {
	within time.Duration

	once sync.Once
	at   time.Time
}

func (d *deadline) time() time.Time {
	if d == nil {
		return time.Now()
	}
	now := time.Now()
	d.once.Do(func() { d.at = now.Add(d.within) })
	if least := now.Add(min(leastDrain, d.within)); d.at.Before(least) {
		return least
	}
	return d.at
}

// untilStop ends requests that last, as watches do, when the server is told to stop: nothing else would end them.
func (s *server) untilStop(stop context.Context) http.Handler {
	if s.lasts == nil {
		return s.handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.lasts(r) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(stop, cancel)()
			r = r.WithContext(ctx)
		}
		s.handler.ServeHTTP(w, r)
	})
}

// stop ends a server that serves: it accepts nothing more, lets requests end until the deadline, then ends them. served
// tells that it accepts nothing more; cancel ends the contexts of all requests.
func (s *server) stop(ctx context.Context, srv *http.Server, served <-chan error, cancel context.CancelFunc) error {
	drainContext, done := context.WithDeadline(ctx, s.drain.time())
	defer done()
	drained := make(chan error, 1)
	go func() { drained <- srv.Shutdown(drainContext) }()
	// An agent that is told to come back must not come back here.
	errs := []error{<-served}
	if errors.Is(errs[0], http.ErrServerClosed) {
		errs = nil
	}
	if s.onDrain != nil {
		errs = append(errs, s.late(s.onDrain(drainContext)))
	}
	err := <-drained
	cancel()
	ctx, done = context.WithTimeout(ctx, closeTimeout)
	defer done()
	if s.onShutdown != nil {
		errs = append(errs, s.onShutdown(ctx))
	}
	if errs = append(errs, s.late(err)); err != nil {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, err, srv.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shutting down the %s: %w", s.name, err)
	}
	return nil
}

// late logs that the time to drain was too short for something, which is no failure of the server.
func (s *server) late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		ctrl.Log.WithName(s.name).Info("Ending what has not ended by itself", "reason", err.Error())
		return nil
	}
	return err
}
