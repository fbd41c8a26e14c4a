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
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
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
	// writeTimeout is longer than a report may be held, and the last write of its results may take.
	writeTimeout = readTimeout + holdTimeout + 15*time.Second
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

// Attempts remembers the runs that tried to report and were refused.
type Attempts interface {
	// Refused takes the first refusal of a run and node, and why.
	Refused(ctx context.Context, runID, node, why string)
}

// Receiver is the report endpoint.
type Receiver struct {
	address   string
	authority *capability.Authority
	store     Store
	attempts  Attempts
	clock     clock.PassiveClock
	log       logr.Logger
	limits    *limits
	slots     chan struct{}
	// held bounds the bytes of the reports that wait for the API server. They stop waiting when stopping ends.
	held      *semaphore.Weighted
	holdFor   time.Duration
	stopping  context.Context
	stop      context.CancelFunc
	listening atomic.Bool
	// Instrument wraps the handler, to count what is answered. It may be set before Start.
	Instrument func(http.Handler) http.Handler
	// bound is the address that is listened on. It is closed over by tests that listen on port 0.
	bound chan net.Addr
}

// New makes a receiver that will listen on an address.
func New(address string, authority *capability.Authority, store Store, attempts Attempts, c clock.PassiveClock, log logr.Logger) *Receiver {
	stopping, stop := context.WithCancel(context.Background())
	return &Receiver{
		address: address, authority: authority, store: store, attempts: attempts, clock: c, log: log,
		limits: newLimits(c), slots: make(chan struct{}, maxReports), bound: make(chan net.Addr, 1),
		held: semaphore.NewWeighted(maxHeldBytes), holdFor: holdTimeout, stopping: stopping, stop: stop,
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
	// Checkers whose reports wait for the API server are told to come again.
	r.stop()
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
	if r.Instrument != nil {
		return r.Instrument(mux)
	}
	return mux
}

// receive takes one report. Nothing of the body is read before the capability is found good.
func (r *Receiver) receive(w http.ResponseWriter, request *http.Request) {
	claims, err := r.authority.Verify(request.PathValue("capability"))
	if err != nil {
		answer(w, http.StatusForbidden, err.Error())
		return
	}
	reply := r.handle(w, request, claims)
	switch {
	case reply.code == 0:
		// The checker is gone, and what it sent is not stored.
		return
	case reply.code >= http.StatusBadRequest:
		r.log.Info("Refused report", "Probe", claims.Namespace+"/"+claims.Probe, "run", claims.RunID, "code", reply.code, "reason", reply.message)
		if !reply.late {
			r.attempts.Refused(request.Context(), claims.RunID, claims.Node, fmt.Sprintf("%d %s", reply.code, reply.message))
		}
	}
	if reply.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(reply.retryAfter))
	}
	answer(w, reply.code, reply.message)
}

// reply is what a checker is told.
type reply struct {
	// code is 0 when nobody is there to be told.
	code    int
	message string
	// retryAfter is in seconds; 0 says nothing.
	retryAfter int
	// late tells that the run has been recorded, so that nobody asks any more whether it tried to report.
	late bool
}

// handle reads and stores one report, and says what to answer.
func (r *Receiver) handle(w http.ResponseWriter, request *http.Request, claims *capability.Claims) reply {
	if claims.Over(r.clock.Now()) {
		return reply{code: http.StatusGone, message: "the deadline of run " + claims.RunID + " has passed"}
	}
	if wait, ok := r.limits.allow(claims); !ok {
		message := "run " + claims.RunID + " reports too often: send several results in one report"
		return reply{code: http.StatusTooManyRequests, message: message, retryAfter: wait}
	}
	ctx := request.Context()
	leave, ok := r.enter(ctx)
	if !ok {
		return reply{}
	}
	body, size, refusal := r.read(w, request, claims)
	if refusal != nil {
		leave()
		return *refusal
	}
	ref := record.Ref{
		Namespace: claims.Namespace, Probe: claims.Probe, ProbeRun: claims.ProbeRun, OwnerUID: claims.OwnerUID, RunID: claims.RunID,
	}
	store := func(ctx context.Context) error {
		return r.store.Report(ctx, ref, claims.Node, body.Checkers, r.clock.Now())
	}
	err := store(ctx)
	leave()
	if mayPass(err) {
		err = r.hold(ctx, claims, size, err, store)
	}
	return r.replyTo(err, claims)
}

// enter waits for one of the places in which reports are read and written; ok is false when the context ended before.
func (r *Receiver) enter(ctx context.Context) (leave func(), ok bool) {
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots }, true
	case <-ctx.Done():
		return nil, false
	}
}

// replyTo says what became of a report that could be read.
func (r *Receiver) replyTo(err error, claims *capability.Claims) reply {
	switch {
	case err == nil:
		return reply{code: http.StatusOK, message: "stored"}
	case errors.Is(err, record.ErrRunOver):
		return reply{code: http.StatusGone, message: "run " + claims.RunID + " is over", late: true}
	case errors.Is(err, record.ErrTooLarge):
		return reply{code: http.StatusRequestEntityTooLarge, message: err.Error()}
	case errors.Is(err, record.ErrTooMany):
		return reply{code: http.StatusBadRequest, message: err.Error()}
	default:
		r.log.Error(err, "Report cannot be stored", "Probe", claims.Namespace+"/"+claims.Probe, "run", claims.RunID)
		return reply{code: http.StatusServiceUnavailable, message: "the report cannot be stored now: send it again", retryAfter: 1}
	}
}

func answer(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// A checker that is gone before it has the answer sends its report again. The answer is plain text that no browser guesses at.
	_, _ = io.WriteString(w, message+"\n") //nolint:gosec // text/plain with nosniff is no place for a script
}
