// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// clock is a time that tests set.
type clock struct{ time.Time }

func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

func newTestSilences() (*silences, *clock) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	s := newSilences()
	s.now = func() time.Time { return c.Time }
	return s, c
}

// request makes one request that ends with err, and tells how long it is too early for the next.
func request(t *testing.T, s *silences, cluster string, err error) time.Duration {
	t.Helper()
	done, refused := s.enter(cluster)
	if refused != nil {
		t.Fatalf("a request was refused: %v", refused)
	}
	done(err)
	_, refused = s.enter(cluster)
	at, ok := RetryTime(fmt.Errorf("wrapped: %w", refused))
	if !ok {
		return 0
	}
	return at.Sub(s.now())
}

var errTimeout = fmt.Errorf("waiting: %w", context.DeadlineExceeded)

func TestSilentClustersAreLeftAloneForLongerAndLonger(t *testing.T) {
	s, clock := newTestSilences()
	for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 2 * time.Minute, 2 * time.Minute} {
		got := request(t, s, "edge", errTimeout)
		if got < want || got >= want+want/5 {
			t.Errorf("after timeout %d it is left alone for %s, want %s and up to a fifth more", i+1, got, want)
		}
		clock.pass(got)
	}
	if got := request(t, s, "edge", nil); got != 0 {
		t.Errorf("after an answer it is left alone for %s", got)
	}
	if got := request(t, s, "edge", errTimeout); got >= 2*firstPause {
		t.Errorf("after an answer and a timeout it is left alone for %s, want a first pause", got)
	}
}

func TestOtherErrorsLeaveNoClusterAlone(t *testing.T) {
	s, _ := newTestSilences()
	for _, err := range []error{ErrNotConnected, context.Canceled, errors.New("refused")} {
		if got := request(t, s, "edge", err); got != 0 {
			t.Errorf("after %v it is left alone for %s", err, got)
		}
	}
}

func TestOneRequestTriesWhetherASilentClusterAnswers(t *testing.T) {
	s, clock := newTestSilences()
	clock.pass(request(t, s, "edge", errTimeout))
	done, err := s.enter("edge")
	if err != nil {
		t.Fatalf("the trial was refused: %v", err)
	}
	if _, err := s.enter("edge"); err == nil {
		t.Error("a second request was let through during the trial")
	}
	done(nil)
	done(errTimeout) // only the first outcome counts
	for range 2 {
		if _, err := s.enter("edge"); err != nil {
			t.Errorf("a request after the answer was refused: %v", err)
		}
	}
}

func TestANewTunnelIsTriedAtOnce(t *testing.T) {
	s, _ := newTestSilences()
	request(t, s, "edge", errTimeout)
	s.reconnected("edge")
	if _, err := s.enter("edge"); err != nil {
		t.Errorf("a request through the new tunnel was refused: %v", err)
	}
}

func TestManySilentClustersTakeFewTrials(t *testing.T) {
	s, clock := newTestSilences()
	const many = 5 * maxTrials
	for i := range many {
		request(t, s, fmt.Sprint(i), errTimeout)
	}
	clock.pass(2 * firstPause)
	var trials []func(error)
	for i := range many {
		if done, err := s.enter(fmt.Sprint(i)); err == nil {
			trials = append(trials, done)
		}
	}
	if len(trials) != maxTrials {
		t.Errorf("%d requests wait for silent clusters, want %d", len(trials), maxTrials)
	}
	if _, err := s.enter("healthy"); err != nil {
		t.Errorf("a request to a healthy cluster was refused: %v", err)
	}
	for _, done := range trials {
		done(nil)
	}
	if _, err := s.enter(fmt.Sprint(many - 1)); err != nil {
		t.Errorf("a trial after the others have ended was refused: %v", err)
	}
	s.forget(fmt.Sprint(many - 2))
	if _, known := s.silent[fmt.Sprint(many-2)]; known {
		t.Error("a cluster that is no longer managed is remembered")
	}
}
