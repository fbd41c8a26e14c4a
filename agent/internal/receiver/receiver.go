// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package receiver takes the reports of checkers over HTTP. A report is let in by the capability in its URL and acknowledged when
// it is stored; what a result means, and what it is stored in, is for package record.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/netutil"
	"k8s.io/utils/clock"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	"github.com/kubeprober/kubeprober/apis/report"
)

// Bounds of what checkers may ask of the receiver.
const (
	// maxConnections that are open at once; more wait to be accepted.
	maxConnections = 512
	// maxReports that are read or written at once; each may hold a body of 1 MiB.
	maxReports = 16
	// readTimeout is how long a checker may take to send its report.
	readTimeout = 15 * time.Second
	// writeTimeout is longer than any write of the results may take.
	writeTimeout = readTimeout + 15*time.Second
	// idleTimeout of a connection that is kept.
	idleTimeout = 30 * time.Second
	// shutdownTimeout is how long reports under way may take when the agent stops.
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 8 << 10
)

// Store keeps results.
type Store interface {
	// Report returns nil once the results are stored. record.ErrRunOver, ErrTooMany and ErrTooLarge are final.
	Report(ctx context.Context, ref record.Ref, node string, reported []report.Checker, now time.Time) error
}

// Receiver is the report endpoint.
type Receiver struct {
	address   string
	authority *capability.Authority
	store     Store
	clock     clock.PassiveClock
	log       logr.Logger
	limits    *limits
	slots     chan struct{}
	listening atomic.Bool
	// bound is the address that is listened on. It is closed over by tests that listen on port 0.
	bound chan net.Addr
}

// New makes a receiver that will listen on an address.
func New(address string, authority *capability.Authority, store Store, c clock.PassiveClock, log logr.Logger) *Receiver {
	return &Receiver{
		address: address, authority: authority, store: store, clock: c, log: log,
		limits: newLimits(c), slots: make(chan struct{}, maxReports), bound: make(chan net.Addr, 1),
	}
}

// Ready returns an error while the receiver does not listen.
func (r *Receiver) Ready(*http.Request) error {
	if !r.listening.Load() {
		return errors.New("the report receiver does not listen")
	}
	return nil
}

// NeedLeaderElection is false: every replica takes reports, since the Service sends them to any.
func (r *Receiver) NeedLeaderElection() bool { return false }

// Start listens until the context ends, and then finishes the reports that are under way.
func (r *Receiver) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.address)
	if err != nil {
		return fmt.Errorf("listening for reports on %s: %w", r.address, err)
	}
	r.bound <- listener.Addr()
	server := &http.Server{
		Handler: r.Handler(), ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// The log of the server would tell of broken connections only.
		ErrorLog: nil,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(listener, maxConnections)) }()
	r.listening.Store(true)
	defer r.listening.Store(false)
	r.log.Info("Listening for reports", "address", listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serving reports: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err = server.Shutdown(shutdown)
	if err != nil {
		err = errors.Join(fmt.Errorf("finishing reports: %w", err), server.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving reports: %w", served))
	}
	return err
}

// Handler serves the report endpoint.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+runner.ReportPath+"{capability}", r.receive)
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusForbidden, "the URL holds no capability: post to the value of "+report.EnvReportURL+" as it is")
	}
	// The address of the original, which had no capability: said clearly, for checkers that build the URL themselves.
	mux.HandleFunc("POST /probe-status", refuse)
	mux.HandleFunc("POST "+runner.ReportPath+"{$}", refuse)
	return mux
}

// receive takes one report. Nothing of the body is read before the capability is found good.
func (r *Receiver) receive(w http.ResponseWriter, request *http.Request) {
	claims, err := r.authority.Verify(request.PathValue("capability"))
	if err != nil {
		answer(w, http.StatusForbidden, err.Error())
		return
	}
	now := r.clock.Now()
	if claims.Over(now) {
		answer(w, http.StatusGone, "the deadline of run "+claims.RunID+" has passed")
		return
	}
	if wait, ok := r.limits.allow(claims); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(wait))
		answer(w, http.StatusTooManyRequests, "run "+claims.RunID+" reports too often: send several results in one report")
		return
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-request.Context().Done():
		return
	}
	code, message := r.take(w, request, claims)
	if code >= 400 {
		r.log.Info("Refused report", "Probe", claims.Namespace+"/"+claims.Probe, "run", claims.RunID, "code", code, "reason", message)
	}
	answer(w, code, message)
}

// take reads and stores one report, and says what to answer.
func (r *Receiver) take(w http.ResponseWriter, request *http.Request, claims *capability.Claims) (code int, message string) {
	// The size is bounded once more by Decode; this closes the connection of one that sends on.
	body, err := report.Decode(http.MaxBytesReader(w, request.Body, report.MaxBytes+1))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, report.ErrTooLarge) || errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, report.ErrTooLarge.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, fmt.Sprintf("the report took longer than %s to arrive", readTimeout)
	case err != nil:
		return http.StatusBadRequest, err.Error()
	}
	if body.ProbeName != "" && body.ProbeName != claims.Probe || body.ProbeNamespace != "" && body.ProbeNamespace != claims.Namespace {
		return http.StatusForbidden, fmt.Sprintf("the report is for probe %q in namespace %q, and the run is one of probe %q in namespace %q",
			body.ProbeName, body.ProbeNamespace, claims.Probe, claims.Namespace)
	}
	ref := record.Ref{
		Namespace: claims.Namespace, Probe: claims.Probe, ProbeRun: claims.ProbeRun, OwnerUID: claims.OwnerUID, RunID: claims.RunID,
	}
	err = r.store.Report(request.Context(), ref, claims.Node, body.Checkers, r.clock.Now())
	switch {
	case err == nil:
		return http.StatusOK, "stored"
	case errors.Is(err, record.ErrRunOver):
		return http.StatusGone, "run " + claims.RunID + " is over"
	case errors.Is(err, record.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, err.Error()
	case errors.Is(err, record.ErrTooMany):
		return http.StatusBadRequest, err.Error()
	default:
		r.log.Error(err, "Report cannot be stored", "Probe", claims.Namespace+"/"+claims.Probe, "run", claims.RunID)
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, "the report cannot be stored now: send it again"
	}
}

func answer(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// A checker that is gone before it has the answer sends its report again. The answer is plain text that no browser guesses at.
	_, _ = io.WriteString(w, message+"\n") //nolint:gosec // text/plain with nosniff is no place for a script
}
