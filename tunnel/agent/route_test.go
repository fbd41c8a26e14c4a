// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/hub"
	"github.com/kubeprober/kubeprober/tunnel/internal/backoff"
)

func TestWaitsAfterASession(t *testing.T) {
	lost := errors.New("lost")
	cases := []struct {
		name        string
		outcome     outcome
		least, most time.Duration // of the next wait, after many failures
	}{
		{"a tunnel that was lost at once waits as a failed connect", outcome{lasted: healthyTime - 1, err: lost}, 0, backoff.Longest},
		{"a minute of health begins anew", outcome{lasted: time.Minute, err: lost}, 0, backoff.First},
		{"a sleep begins anew", outcome{lasted: time.Second, err: lost, slept: true}, 0, backoff.First},
		{"a busy hub is left alone as long as it asks for", outcome{err: &refusedError{status: 503, retryAfter: time.Minute}}, time.Minute, time.Minute + backoff.Longest},
		{"a wrong secret is for a person to mend", outcome{err: &refusedError{status: 401}}, backoff.Longest / 2, backoff.Longest},
		{"a name that is taken is, too", outcome{err: &refusedError{status: 403}}, backoff.Longest / 2, backoff.Longest},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			shortest, longest := backoff.Longest*10, time.Duration(0)
			for range 200 {
				var waits backoff.Backoff
				for range 20 {
					waits.Next()
				}
				wait := tc.outcome.delay(&waits)
				shortest, longest = min(shortest, wait), max(longest, wait)
			}
			if shortest < tc.least || longest >= tc.most {
				t.Errorf("waits from %s to %s, want them in [%s, %s)", shortest, longest, tc.least, tc.most)
			}
			// The whole range is used: 200 draws leave a half of it alone once in 2^199.
			if middle := (tc.least + tc.most) / 2; shortest > middle || longest < middle {
				t.Errorf("waits from %s to %s, want them spread over [%s, %s)", shortest, longest, tc.least, tc.most)
			}
		})
	}
}

func TestAnOverloadedHubIsLeftAloneAsLongAsItAsksFor(t *testing.T) {
	t.Parallel()
	const asked = 2 * time.Second
	forms := map[string]func() string{
		"in seconds": func() string { return "2" },
		// A date has whole seconds: up to one is lost.
		"as a date": func() string { return time.Now().Add(asked + time.Second).UTC().Format(http.TimeFormat) },
	}
	for name, retryAfter := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Pointer[time.Time]
			returned := make(chan time.Duration, 1)
			front := serveAt(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				now := time.Now()
				if first := refused.Swap(&now); first != nil {
					select {
					case returned <- now.Sub(*first):
					default:
					}
				}
				w.Header().Set("Retry-After", retryAfter())
				http.Error(w, "busy", http.StatusTooManyRequests)
			}))
			t.Cleanup(front.Close)
			log, _ := start(t, optionsFor(front.URL))
			log.await(t, "the hub answered 429: busy")
			select {
			case after := <-returned:
				if after < asked || after > asked+time.Second+backoff.First+time.Second {
					t.Errorf("the agent was back after %s", after)
				}
			case <-time.After(patience):
				t.Error("the agent does not come back")
			}
		})
	}
}

func TestADrainingHubIsLeftAloneAsLongAsItAsksFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.1:0", hub.Limits{})
	log, _ := start(t, optionsFor(s.server.URL))
	s.await(t, true)
	if err := s.Drain(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	all := log.await(t, "the hub is shutting down")
	if !strings.Contains(all, "The hub is going to stop, connecting anew") {
		t.Errorf("the agent was not told:\n%s", all)
	}
	got := regexp.MustCompile(`status 503.*retryIn ([0-9.]+m?s)`).FindStringSubmatch(all)
	if got == nil {
		t.Fatalf("no wait is told:\n%s", all)
	}
	// The hub asks for five seconds and a part of the spread.
	if wait, err := time.ParseDuration(got[1]); err != nil || wait < 5*time.Second {
		t.Errorf("the agent waits %s, %v", wait, err)
	}
}

const exposedWarning = "The tunnel is not encrypted"

func TestATunnelInTheOpenIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	h, err := hub.New(hub.Options{Secrets: func() [][]byte { return [][]byte{[]byte(testSecret)} }, Binder: letIn{}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	events := make(chan hub.Event, 10)
	h.Subscribe(func(e hub.Event) { events <- e })
	t.Cleanup(func() {
		if err := h.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	s := &site{Hub: h, events: events}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	opts := optionsFor("ws://hub.example.org:" + port)
	opts.Resolver = newNames(t, "127.0.0.1").resolver()
	log, _ := start(t, opts)
	for range 3 {
		s.await(t, true)
		s.Disconnect(testCluster, "again")
		s.await(t, false)
	}
	s.await(t, true)
	if n := strings.Count(log.text(), exposedWarning); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log.text())
	}
}

func TestWhatIsInTheOpen(t *testing.T) {
	cases := []struct {
		address string
		exposed bool
	}{
		{"http://master.example:8088", true},
		{"ws://10.0.0.7:8088", true},
		{"ws://[2001:db8::1]", true},
		{"http://probe-master.kubeprober", true}, // it may be a name of the Internet
		{"https://master.example", false},
		{"wss://10.0.0.7", false},
		{"http://probe-master.kubeprober.svc.cluster.local:8088", false},
		{"http://probe-master.kubeprober.svc", false},
		{"http://probe-master.kubeprober.svc.corp.example.", false},
		{"http://probe-master:8088", false},
		{"http://localhost:8088", false},
		{"http://127.0.0.1:8088", false},
		{"ws://[::1]:8088", false},
	}
	for _, tc := range cases {
		address, err := connectURL(tc.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := isExposed(address); got != tc.exposed {
			t.Errorf("%s: exposed is %v", tc.address, got)
		}
	}
}
