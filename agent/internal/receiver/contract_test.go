// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
)

func TestAReportOfKuberhealthyIsTakenAtTheSameURL(t *testing.T) {
	ours := run.UUID(claims.RunID)
	for name, tc := range map[string]struct {
		uuid, body string
		code       int
		says, want string
	}{
		"a good one":                            {uuid: ours, body: `{"ok":true,"errors":[]}`, code: 200, want: "k8s=PASS:"},
		"one of the older clients":              {uuid: strings.ToUpper(ours), body: `{"OK":false,"Errors":["dns","etcd"]}`, code: 200, want: "k8s=ERROR:dns; etcd"},
		"one without the UUID":                  {body: `{"ok":true,"errors":[]}`, code: 400, says: "the header kh-run-uuid is missing"},
		"one of another run":                    {uuid: run.UUID("run-2"), body: `{"ok":true}`, code: 400, says: "is not of run run-1"},
		"a UUID that is none":                   {uuid: "x", body: `{"ok":true}`, code: 400, says: "is not of run run-1"},
		"ok with errors":                        {uuid: ours, body: `{"ok":true,"errors":["x"]}`, code: 400, says: "ok is true, and there are errors"},
		"not ok without errors":                 {uuid: ours, body: `{"ok":false}`, code: 400, says: "ok is false, and there are no errors"},
		"garbage":                               {uuid: ours, body: `{"ok`, code: 400, says: "parsing Kuberhealthy report"},
		"too large":                             {uuid: ours, body: `{"ok":false,"errors":["` + strings.Repeat("x", report.MaxBytes) + `"]}`, code: 413, says: "larger than"},
		"our report beside the header":          {uuid: "x", body: good, code: 200, want: "dns=PASS:"},
		"a body that is neither, by its header": {uuid: ours, body: `{}`, code: 400, says: "ok is missing"},
		"a body that is neither":                {body: `{}`, code: 400, says: "checkers is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.urlOf(t, claims), strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.uuid != "" {
				request.Header.Set("kh-run-uuid", tc.uuid)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tc.code || !strings.Contains(string(text), tc.says) {
				t.Errorf("answer %d %q, want %d %q", response.StatusCode, text, tc.code, tc.says)
			}
			var got []string
			for _, c := range f.store.taken["run-1@"] {
				got = append(got, fmt.Sprintf("%s=%s:%s", c.Name, c.Status, c.Message))
			}
			if stored := strings.Join(got, " "); stored != tc.want {
				t.Errorf("stored %q, want %q", stored, tc.want)
			}
		})
	}
}

func TestARefusedReportIsRemembered(t *testing.T) {
	late, other := claims, claims
	late.Deadline, other.Probe, other.Node = 999, "host", "n1"
	for name, tc := range map[string]struct {
		url    func(*testing.T, *fixture) string
		body   string
		stored error
		want   string
	}{
		"garbage":                          {body: "x", want: "run-1@: 400 parsing report"},
		"too large":                        {body: strings.Repeat(" ", report.MaxBytes+1), want: "run-1@: 413 report is larger"},
		"for another probe":                {body: good, url: func(t *testing.T, f *fixture) string { return f.urlOf(t, other) }, want: "run-1@n1: 403 the report is for probe"},
		"after the deadline":               {body: good, url: func(t *testing.T, f *fixture) string { return f.urlOf(t, late) }, want: "run-1@: 410 the deadline"},
		"while the API server is away":     {body: good, stored: errors.New("connection refused"), want: "run-1@: 503 the report cannot be stored now"},
		"not one that is taken":            {body: good},
		"not one of a run that is over":    {body: good, stored: record.ErrRunOver},
		"not one that anybody could send":  {body: good, url: func(_ *testing.T, f *fixture) string { return f.url + "/probe-status/forged.run" }},
		"not one without a report in it":   {body: "", url: func(_ *testing.T, f *fixture) string { return f.url + "/probe-status" }},
		"one that is too much for a probe": {body: good, stored: record.ErrTooMany, want: "run-1@: 400 the run has reported more"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.store.err = tc.stored
			url := f.urlOf(t, claims)
			if tc.url != nil {
				url = tc.url(t, f)
			}
			post(t, url, strings.NewReader(tc.body))
			told := strings.Join(f.attempts.list(), "\n")
			if !strings.HasPrefix(told, tc.want) || tc.want == "" && told != "" {
				t.Errorf("remembered %q, want %q", told, tc.want)
			}
			if i := strings.LastIndex(url, "/"); tc.url == nil && strings.Contains(told, url[i+1:]) {
				t.Error("the capability is remembered")
			}
		})
	}
}

func TestAReportIsHeldUntilItCanBeStored(t *testing.T) {
	f := start(t)
	f.receiver.holdFor = 30 * time.Second
	f.store.set(errors.New("connection refused"))
	url := f.urlOf(t, claims)
	answered := make(chan int, 1)
	go func() {
		response, err := http.Post(url, "application/json", strings.NewReader(good))
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	// It is tried again while nobody is answered.
	for range 3 {
		<-f.store.tried
	}
	select {
	case code := <-answered:
		t.Fatalf("answered with %d while it is not stored", code)
	default:
	}
	f.store.set(nil)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("answered with %d", code)
	}
	if len(f.store.taken["run-1@"]) != 1 || len(f.attempts.list()) != 0 {
		t.Errorf("stored %v, refused %v", f.store.taken, f.attempts.list())
	}
}

func TestHoldingIsBounded(t *testing.T) {
	away := errors.New("connection refused")
	for name, tc := range map[string]struct {
		err  error
		fill int64
		last int64
		held bool
	}{
		"in time":                            {err: away, last: 2000, held: true},
		"by the deadline of the run":         {err: away, last: 1000},
		"in bytes":                           {err: away, last: 2000, fill: maxHeldBytes},
		"to what another attempt may change": {err: apierrors.NewForbidden(schema.GroupResource{}, "k8s", away), last: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.store.set(tc.err)
			if tc.fill > 0 && !f.receiver.held.TryAcquire(tc.fill) {
				t.Fatal("the room is taken")
			}
			last := claims
			last.Deadline = tc.last
			response, err := http.Post(f.urlOf(t, last), "application/json", strings.NewReader(good))
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				t.Errorf("answer %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
			}
			if again := f.store.count() > 1; again != tc.held {
				t.Errorf("tried %d times", f.store.count())
			}
			if tc.fill == 0 && !f.receiver.held.TryAcquire(maxHeldBytes) {
				t.Error("a report that was let go takes room")
			}
		})
	}
}

func TestAnAgentThatStopsLetsHeldReportsGo(t *testing.T) {
	f := start(t)
	f.receiver.holdFor = time.Hour
	f.store.set(errors.New("connection refused"))
	url := f.urlOf(t, claims)
	answered := make(chan int, 1)
	go func() {
		response, err := http.Post(url, "application/json", strings.NewReader(good))
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	<-f.store.tried
	f.stop()
	if code := <-answered; code != http.StatusServiceUnavailable {
		t.Errorf("answered with %d", code)
	}
}

// FuzzReceive posts any body with any header to a good URL: what is stored is a report, all else is refused by the client's fault.
func FuzzReceive(f *testing.F) {
	f.Add("", good)
	f.Add(run.UUID(claims.RunID), `{"ok":false,"errors":["x"]}`)
	f.Add("x", `{"ok":true,"checkers":[]}`)
	f.Add("", `{"checkers":[{"name":"\u202e","status":"warn","message":"\u001b[2J"}],"probeName":"host"}`)
	receiver := newFixture(f)
	handler, target := receiver.receiver.Handler(), "/probe-status/"+receiver.token(f, claims)
	f.Fuzz(func(t *testing.T, uuid, body string) {
		receiver.store.reset()
		// A new second for each: the rate is not what is looked for.
		receiver.clock.SetTime(receiver.clock.Now().Add(time.Nanosecond))
		receiver.receiver.limits = newLimits(receiver.clock)
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
		request.Header.Set(report.KuberhealthyHeader, uuid)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		stored := receiver.store.taken["run-1@"]
		switch recorder.Code {
		case http.StatusOK:
			r := report.Report{Checkers: stored}
			if err := r.Normalize(); err != nil {
				t.Fatalf("stored what is no report: %v", err)
			}
		case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge:
			if len(stored) > 0 {
				t.Fatalf("stored %v and answered %d", stored, recorder.Code)
			}
		default:
			t.Fatalf("answered with %d", recorder.Code)
		}
	})
}
