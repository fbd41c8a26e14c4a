// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/hub"
	"github.com/kubeprober/kubeprober/tunnel/internal/backoff"
)

func TestAJumpOfTheWallClockIsAWake(t *testing.T) {
	cases := []struct {
		name  string
		steps []time.Duration // by which the wall clock goes on between two looks
		wakes int
	}{
		{"a clock that goes on as usual", []time.Duration{lookEvery, lookEvery, lookEvery}, 0},
		{"a busy machine that looks late", []time.Duration{lookEvery + sleepTime/2, lookEvery}, 0},
		{"a night", []time.Duration{lookEvery, 8 * time.Hour, lookEvery}, 1},
		{"just longer than is harmless", []time.Duration{lookEvery + sleepTime}, 1},
		{"two naps", []time.Duration{time.Minute, lookEvery, time.Minute}, 2},
		{"a clock that is set back", []time.Duration{-time.Hour, lookEvery}, 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var w wakes
			ctx, cancel := context.WithCancel(t.Context())
			ticks := make(chan time.Time)
			at := time.Now()
			looked := make(chan struct{})
			var group sync.WaitGroup
			group.Go(func() {
				w.follow(ctx, ticks, func() time.Time {
					defer func() { looked <- struct{}{} }()
					return at
				})
			})
			<-looked
			woken := 0
			next := w.wait()
			for _, step := range tc.steps {
				at = at.Add(step)
				ticks <- time.Time{}
				<-looked
				// The look is over only when the next tick is taken.
				at = at.Add(lookEvery)
				ticks <- time.Time{}
				<-looked
				if isClosed(next) {
					woken++
					next = w.wait()
				}
			}
			cancel()
			group.Wait()
			if woken != tc.wakes {
				t.Errorf("%d wakes, want %d", woken, tc.wakes)
			}
		})
	}
}

func TestAWakeEndsTheWaitForTheNextAttempt(t *testing.T) {
	t.Parallel()
	opts := optionsFor("https://hub.example")
	opts.Log = logr.Discard()
	a, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var waits backoff.Backoff
	for range 20 {
		waits.Next()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	paused := make(chan struct{})
	go func() {
		defer close(paused)
		a.routes[0].pause(ctx, &waits, outcome{err: &refusedError{status: http.StatusServiceUnavailable, retryAfter: longestAsked}})
	}()
	for {
		select {
		case <-paused:
		case <-time.After(10 * time.Millisecond): // nothing tells that it waits
			a.wakes.tell()
			continue
		}
		break
	}
	if ctx.Err() != nil {
		t.Error("the wait went on")
	}
	if next := waits.Next(); next >= 2*backoff.First {
		t.Errorf("the next wait is %s: the backoff was not reset", next)
	}
}

func TestAfterASleepADeadTunnelIsFoundSoon(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:0", hub.Limits{})
	way := newRelay(t, s.server.Listener.Addr().String())
	a, log, _ := startAgent(t, optionsFor("https://"+way.listener.Addr().String()))
	s.await(t, true)
	await(t, a)
	way.hold(true)
	slept := time.Now()
	a.wakes.tell()
	log.await(t, "Tunnel lost")
	if took := time.Since(slept); took >= idleTime-probeTime/2 {
		t.Errorf("it took %s, no less than without a sleep", took)
	}
	way.hold(false)
	s.await(t, false)
	s.await(t, true)
}

func TestAfterASleepALiveTunnelStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:0", hub.Limits{})
	a, log, _ := startAgent(t, optionsFor(s.server.URL))
	s.await(t, true)
	await(t, a)
	a.wakes.tell()
	log.await(t, "The machine has slept")
	select {
	case e := <-s.events:
		t.Errorf("%+v", e)
	case <-time.After(probeTime + time.Second): // it would be lost by now
	}
}

// await returns when a has a tunnel and looks after it.
func await(t *testing.T, a *Agent) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return a.Connected(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStoppedAgentIsBackWithinSeconds(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:0", hub.Limits{IdleTimeout: 6 * time.Second})
	child := cast(t, "agent", s.server.Listener.Addr().String(), 0)
	child.begin(t)
	awaitAll := func(connected bool) {
		waiting := map[string]bool{idleCluster: true, downCluster: true, upCluster: true}
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for len(waiting) > 0 {
			select {
			case e := <-s.events:
				if e.Connected == connected {
					delete(waiting, e.Cluster)
				}
			case <-timer.C:
				t.Fatalf("no event with connected %v of %v", connected, waiting)
			}
		}
	}
	awaitAll(true)
	if err := child.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitAll(false) // the hub has had enough of the silence
	if err := child.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	woken := time.Now()
	awaitAll(true)
	if took := time.Since(woken); took > 5*time.Second {
		t.Errorf("the agent was back after %s", took)
	}
}
