// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/probers/checker"
)

// request is what the demo posted.
type request struct {
	path, body string
	at         time.Time
}

// agent answers every post with the code and hands it on.
func agent(t *testing.T, code int) <-chan request {
	t.Helper()
	requests := make(chan request, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading the post: %v", err)
		}
		requests <- request{r.URL.Path, string(body), time.Now()}
		http.Error(w, "as the agent says it", code)
	}))
	t.Cleanup(server.Close)
	t.Setenv(report.EnvReportURL, server.URL+"/runs/c0ffee")
	t.Setenv(report.EnvProbeName, "demo")
	t.Setenv(report.EnvProbeNamespace, "kubeprober")
	t.Setenv(report.EnvRunDeadline, "")
	return requests
}

func newDemo(t *testing.T, set map[string]string) *Demo {
	t.Helper()
	d, err := New(func(name string) string { return set[name] })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestModesDoWhatTheySay(t *testing.T) {
	tests := map[string]struct {
		set    map[string]string
		answer int
		code   int
		path   string
		posts  string
		prints string
	}{
		"report":                {set: map[string]string{"DEMO_STATUS": "warn", "DEMO_MESSAGE": "slow"}, answer: 200, path: "/runs/c0ffee", posts: `"name":"demo-checker","status":"WARN","message":"slow"`},
		"report after a delay":  {set: map[string]string{"DEMO_DELAY": "10ms", "DEMO_NAME": "x"}, answer: 200, posts: `"name":"x","status":"PASS"`},
		"report in vain":        {answer: 410, code: checker.ExitNotReported, posts: `"PASS"`},
		"panic":                 {set: map[string]string{"DEMO_MODE": "panic"}, answer: 200, posts: `"status":"UNKNOWN","message":"the checker has a fault and panicked: the demo was told to panic"`},
		"garbage":               {set: map[string]string{"DEMO_MODE": "garbage"}, answer: 400, posts: `{"checkers": [{"name": 7`, prints: "garbage: the agent answered 400 Bad Request: as the agent says it"},
		"foreign":               {set: map[string]string{"DEMO_MODE": "foreign", "DEMO_FOREIGN_PROBE": "host"}, answer: 403, posts: `"probeName":"host"`, prints: "403 Forbidden"},
		"forged":                {set: map[string]string{"DEMO_MODE": "forged"}, answer: 403, path: "/runs/c0ffe0", posts: `"probeName":"demo"`, prints: "403"},
		"exit":                  {set: map[string]string{"DEMO_MODE": "exit", "DEMO_EXIT_CODE": "7"}, code: 7},
		"lines":                 {set: map[string]string{"DEMO_MODE": "lines", "DEMO_LINES": "2"}, prints: "line 2 of a checker"},
		"upper case is fine":    {set: map[string]string{"DEMO_MODE": "EXIT"}, code: 3},
		"late without deadline": {set: map[string]string{"DEMO_MODE": "late"}, code: checker.ExitNotReported},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			requests := agent(t, max(test.answer, 200))
			var out bytes.Buffer
			code := newDemo(t, test.set).Run(t.Context(), &out, io.Discard)
			if code != test.code || !strings.Contains(out.String(), test.prints) {
				t.Errorf("exit status %d, want %d; printed %q, want %q", code, test.code, out.String(), test.prints)
			}
			if test.posts == "" {
				if len(requests) > 0 {
					t.Errorf("it posted %+v", <-requests)
				}
				return
			}
			if got := <-requests; !strings.Contains(got.body, test.posts) || !strings.HasPrefix(got.path, test.path) {
				t.Errorf("it posted %+v, want %s to %s", got, test.posts, test.path)
			}
		})
	}
}

func TestALateReportComesAfterTheDeadlineAndDisregardsSignals(t *testing.T) {
	requests := agent(t, http.StatusGone)
	deadline := time.Now().Add(100 * time.Millisecond)
	t.Setenv(report.EnvRunDeadline, deadline.Format(time.RFC3339Nano))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	code := newDemo(t, map[string]string{"DEMO_MODE": "late"}).Run(ctx, &out, io.Discard)
	if got := <-requests; code != checker.ExitReported || got.at.Before(deadline) {
		t.Errorf("exit status %d, reported %s after the deadline", code, got.at.Sub(deadline))
	}
	if !strings.Contains(out.String(), "late: the agent answered 410 Gone") {
		t.Errorf("printed %q", out.String())
	}
}

func TestMemoryIsHeldUntilTheEnd(t *testing.T) {
	agent(t, 200)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	code := newDemo(t, map[string]string{"DEMO_MODE": "memory", "DEMO_MEMORY_MIB": "4"}).Run(ctx, io.Discard, &log)
	if code != checker.ExitNotReported || ctx.Err() == nil || !strings.Contains(log.String(), "holds 4 MiB") {
		t.Errorf("exit status %d, ended %v, log %q", code, ctx.Err(), log.String())
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for name, value := range map[string]string{
		"DEMO_MODE": "dance", "DEMO_STATUS": "fine", "DEMO_DELAY": "soon", "DEMO_EXIT_CODE": "256", "DEMO_MEMORY_MIB": "0",
	} {
		_, err := New(func(n string) string { return map[string]string{name: value}[n] })
		if err == nil || !strings.Contains(err.Error(), name+` is "`+value+`"; it must be`) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
