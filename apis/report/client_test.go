// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const secretPath = "/probe-status/capability-of-a-run"

func clientFor(t *testing.T, handler http.HandlerFunc, deadline time.Time) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := NewClient(server.URL+secretPath, "kubeprober", "k8s", deadline)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSendPostsOneReport(t *testing.T) {
	var body []byte
	c := clientFor(t, func(_ http.ResponseWriter, r *http.Request) { body, _ = io.ReadAll(r.Body) }, time.Time{})
	if err := c.Send(t.Context(), Checker{Name: "dns", Status: "pass"}); err != nil {
		t.Fatal(err)
	}
	r, err := Decode(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	if r.ProbeName != "k8s" || r.ProbeNamespace != "kubeprober" || r.Checkers[0].Status != kubeproberv1.CheckerPass {
		t.Errorf("got %+v", r)
	}
}

func TestSendTriesAgainUntilTheAgentIsBack(t *testing.T) {
	var calls atomic.Int32
	c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, time.Time{})
	if err := c.Send(t.Context(), Checker{Name: "dns", Status: "PASS"}); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 3 {
		t.Errorf("got %d calls, want 3", calls.Load())
	}
}

func TestSendDoesNotGiveUpWhenTheDelayHasReachedItsCap(t *testing.T) {
	var calls atomic.Int32
	c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 50 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, time.Time{})
	c.backoff.Duration, c.backoff.Cap = time.Millisecond, 2*time.Millisecond
	if err := c.Send(t.Context(), Checker{Name: "dns", Status: "PASS"}); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 50 {
		t.Errorf("got %d calls, want 50", calls.Load())
	}
}

func TestSendEndsAtOnceOnFinalAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		code int
		want error
	}{
		"when the run is over":          {http.StatusGone, ErrRunOver},
		"when the URL is not of a run":  {http.StatusForbidden, ErrNotAllowed},
		"when the report is bad":        {http.StatusBadRequest, ErrInvalid},
		"when the report is too large":  {http.StatusRequestEntityTooLarge, ErrInvalid},
		"when the URL leads to nowhere": {http.StatusNotFound, ErrNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				http.Error(w, "the reason", tc.code)
			}, time.Time{})
			err := c.Send(t.Context(), Checker{Name: "dns", Status: "PASS"})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "the reason") {
				t.Errorf("got %v, want %v with the reason", err, tc.want)
			}
			if calls.Load() != 1 {
				t.Errorf("got %d calls, want 1", calls.Load())
			}
		})
	}
}

func TestSendGivesUpAtTheDeadlineWithTheLastCause(t *testing.T) {
	c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "writing failed", http.StatusServiceUnavailable)
	}, time.Now().Add(400*time.Millisecond))
	err := c.Send(t.Context(), Checker{Name: "dns", Status: "PASS"})
	if err == nil || !strings.Contains(err.Error(), "sending report") {
		t.Fatalf("got %v", err)
	}
}

func TestErrorsDoNotRepeatTheCapability(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	c, err := NewClient(address+secretPath, "kubeprober", "k8s", time.Now().Add(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Send(t.Context(), Checker{Name: "dns", Status: "PASS"})
	if err == nil || strings.Contains(err.Error(), secretPath) {
		t.Errorf("got %v", err)
	}
	if _, err := NewClient("ftp://agent"+secretPath, "", "", time.Time{}); err == nil || strings.Contains(err.Error(), secretPath) {
		t.Errorf("got %v", err)
	}
}

func TestNewClientFromEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		url, deadline, wantErr string
	}{
		"works in a pod of a run":               {url: "http://agent/probe-status/x", deadline: "2026-11-22T12:00:00Z"},
		"works without a deadline":              {url: "http://agent/probe-status/x"},
		"names the variable when there is none": {wantErr: EnvReportURL + " is not set"},
		"names the deadline when it is bad":     {url: "http://agent/x", deadline: "soon", wantErr: EnvRunDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EnvReportURL, tc.url)
			t.Setenv(EnvRunDeadline, tc.deadline)
			_, err := NewClientFromEnvironment()
			if tc.wantErr == "" && err != nil {
				t.Fatal(err)
			}
			if tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("got %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}
