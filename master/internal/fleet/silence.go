// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// firstPause is how long a cluster that did not answer in time is left alone; it doubles up to longestPause.
	firstPause   = 5 * time.Second
	longestPause = 2 * time.Minute
	// maxTrials bounds the requests that wait at once for clusters that did not answer before. It is well below the number
	// of reconciles at once, so that many such clusters leave enough of them to the others.
	maxTrials = 8
	// trialPause is about how long a request waits that is one too many.
	trialPause = 5 * time.Second
)

// NotAnsweringError is what a call to a managed cluster fails with at once (wrapped) when the requests before timed out and
// it is too early for another attempt.
type NotAnsweringError struct {
	Cluster string
	// Retry is when the next attempt may be made.
	Retry time.Time
}

func (e *NotAnsweringError) Error() string {
	return fmt.Sprintf("cluster %s has a tunnel and does not answer in time: look at its API server and at the log of probe-tunnel there", e.Cluster)
}

// RetryTime tells when to try again after an error that is a NotAnsweringError. It is no fault of the caller's, and
// nothing tells when the cluster answers again.
func RetryTime(err error) (at time.Time, ok bool) {
	var silent *NotAnsweringError
	if !errors.As(err, &silent) {
		return time.Time{}, false
	}
	return silent.Retry, true
}

// TimedOut tells of an error that another request to the same cluster is likely to meet, too: it hangs.
func TimedOut(err error) bool {
	_, silent := RetryTime(err)
	return silent || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// silences knows the clusters that do not answer in time, and lets one request at a time try whether they do again. All
// methods may be called at once.
type silences struct {
	now func() time.Time

	mu     sync.Mutex
	silent map[string]*silence
	trials int
}

// silence is of a cluster whose last request timed out.
type silence struct {
	pause  time.Duration
	retry  time.Time
	trying bool
}

func newSilences() *silences { return &silences{now: time.Now, silent: map[string]*silence{}} }

// enter is called before a request; the caller gives its outcome to done, once or more: only the first counts.
func (s *silences) enter(cluster string) (done func(error), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of, now := s.silent[cluster], s.now()
	switch {
	case of == nil:
	case now.Before(of.retry):
		return nil, &NotAnsweringError{Cluster: cluster, Retry: of.retry}
	case of.trying || s.trials >= maxTrials:
		return nil, &NotAnsweringError{Cluster: cluster, Retry: now.Add(trialPause + rand.N(trialPause))}
	default:
		of.trying = true
		s.trials++
	}
	var once sync.Once
	return func(err error) { once.Do(func() { s.leave(cluster, of, err) }) }, nil
}

// leave books the outcome of a request. trial is what enter found, nil when the cluster was not silent then.
func (s *silences) leave(cluster string, trial *silence, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if trial != nil {
		trial.trying = false
		s.trials--
	}
	of := s.silent[cluster]
	switch {
	case err == nil:
		delete(s.silent, cluster)
	case !TimedOut(err):
		// That tells nothing: the tunnel was lost, or the caller has no more interest.
	case of == nil:
		s.silent[cluster] = &silence{pause: firstPause, retry: s.later(firstPause)}
	case of == trial:
		of.pause = min(2*of.pause, longestPause)
		of.retry = s.later(of.pause)
	}
}

// later is a moment of the next attempt. It is spread, since clusters often fall silent together.
func (s *silences) later(pause time.Duration) time.Time {
	return s.now().Add(pause + rand.N(pause/5))
}

// reconnected lets the next request try at once.
func (s *silences) reconnected(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.silent[cluster]; of != nil {
		of.retry = time.Time{}
	}
}

func (s *silences) forget(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.silent, cluster)
}

// attentive is the way to a cluster that is left alone while it does not answer.
type attentive struct {
	next     http.RoundTripper
	cluster  string
	silences *silences
}

// RoundTrip implements http.RoundTripper.
func (a attentive) RoundTrip(request *http.Request) (*http.Response, error) {
	done, err := a.silences.enter(a.cluster)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // nobody reads it
		}
		return nil, err
	}
	response, err := a.next.RoundTrip(request)
	if err != nil {
		done(err)
		return nil, err
	}
	response.Body = &attentiveBody{ReadCloser: response.Body, done: done}
	return response, nil
}

// attentiveBody waits for the end of an answer: one that stops half-way is none.
type attentiveBody struct {
	io.ReadCloser

	done func(error)
}

// Read implements io.Reader.
func (b *attentiveBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.done(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *attentiveBody) Close() error {
	b.done(nil)
	return b.ReadCloser.Close()
}
