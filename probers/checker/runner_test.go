// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
)

// receiver is an agent's end of the report contract that keeps what it got.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	// answer says how to answer the nth request, from 0.
	answer func(n int) (code int, text string)

	lock    sync.Mutex
	results map[string]report.Checker
	order   []string
	calls   int
	arrived chan string
}

func newReceiver(t *testing.T, answer func(n int) (int, string)) *receiver {
	t.Helper()
	r := &receiver{t: t, answer: answer, results: map[string]report.Checker{}, arrived: make(chan string, 100)}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.server.Close)
	t.Setenv(report.EnvReportURL, r.server.URL+"/probe-status?run=secret")
	t.Setenv(report.EnvProbeName, "k8s")
	t.Setenv(report.EnvProbeNamespace, "kubeprober")
	t.Setenv(report.EnvRunDeadline, "")
	return r
}

func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	r.lock.Lock()
	defer r.lock.Unlock()
	n := r.calls
	r.calls++
	if r.answer != nil {
		if code, text := r.answer(n); code != http.StatusOK {
			http.Error(w, text, code)
			return
		}
	}
	got, err := report.Decode(request.Body)
	if err != nil {
		r.t.Errorf("the receiver got a bad report: %v", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if got.ProbeName != "k8s" || got.ProbeNamespace != "kubeprober" {
		r.t.Errorf("the report is for %s/%s", got.ProbeNamespace, got.ProbeName)
	}
	for _, c := range got.Checkers {
		r.results[c.Name] = c
		r.order = append(r.order, c.Name)
		r.arrived <- c.Name
	}
}

func (r *receiver) result(name string) report.Checker {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.results[name]
}

// created is a checker that leaves something behind.
type created struct {
	Checker
	cleanup func(ctx context.Context) error
}

func (c created) Cleanup(ctx context.Context) error { return c.cleanup(ctx) }

// short is a checker with a limit.
type short struct {
	Checker
	limit time.Duration
}

func (s short) Limit() time.Duration { return s.limit }

// shortCreated is both.
type shortCreated struct {
	created
	limit time.Duration
}

func (s shortCreated) Limit() time.Duration { return s.limit }

func TestVerdictsOfChecks(t *testing.T) {
	broken := Broken("disk %s is gone", "sda")
	tests := map[string]struct {
		err     error
		status  Status
		message string
	}{
		"nothing wrong is PASS":                           {nil, Pass, "fine"},
		"something broken is ERROR":                       {broken, Error, "disk sda is gone"},
		"something degraded is WARN":                      {Degraded("slow"), Warn, "slow"},
		"something noticed is INFO":                       {Noticed("old"), Info, "old"},
		"an error that nobody judged is UNKNOWN":          {errors.New("connection refused"), Unknown, "connection refused"},
		"a finding keeps its verdict when it is wrapped":  {fmt.Errorf("checking disks: %w", broken), Error, "checking disks: disk sda is gone"},
		"the outermost finding decides":                   {NotChecked("no rights: %w", broken), Unknown, "no rights: disk sda is gone"},
		"the most severe of several counts":               {errors.Join(Degraded("slow"), broken, errors.New("odd")), Error, "slow; disk sda is gone; odd"},
		"what could not be checked is more than a notice": {errors.Join(Noticed("old"), errors.New("odd")), Unknown, "old; odd"},
		"time that is up is UNKNOWN":                      {fmt.Errorf("waiting: %w", context.DeadlineExceeded), Unknown, "waiting: context deadline exceeded"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, message := Verdict(test.err, "fine")
			if status != test.status || message != test.message {
				t.Errorf("got %s %q, want %s %q", status, message, test.status, test.message)
			}
		})
	}
}

func TestRunReportsEveryResult(t *testing.T) {
	r := newReceiver(t, nil)
	code := run(t.Context(), io.Discard,
		New("good", func(context.Context) (string, error) { return "all is well", nil }),
		New("bad", func(context.Context) (string, error) { return "", Broken("it is broken") }),
		New("unsure", func(context.Context) (string, error) { return "", errors.New("no permission") }),
		New("faulty", func(context.Context) (string, error) { panic("index out of range") }),
		Failed("unset", errors.New("CHECK_TIMEOUT is wrong")),
	)
	if code != ExitReported {
		t.Errorf("exit status %d, want %d", code, ExitReported)
	}
	want := map[string]string{
		"good":   "PASS all is well",
		"bad":    "ERROR it is broken",
		"unsure": "UNKNOWN no permission",
		"faulty": "UNKNOWN the checker has a fault and panicked: index out of range",
		"unset":  "UNKNOWN CHECK_TIMEOUT is wrong",
	}
	for name, text := range want {
		got := r.result(name)
		if s := string(got.Status) + " " + got.Message; s != text {
			t.Errorf("%s: got %q, want %q", name, s, text)
		}
		if got.LastRun == nil || time.Since(got.LastRun.Time) > time.Minute {
			t.Errorf("%s: lastRun is %v", name, got.LastRun)
		}
	}
}

func TestRunReportsAResultBeforeTheOthersAreThere(t *testing.T) {
	r := newReceiver(t, nil)
	done := make(chan int)
	release := make(chan struct{})
	go func() {
		done <- run(context.WithoutCancel(t.Context()), io.Discard,
			New("slow", func(context.Context) (string, error) { <-release; return "", nil }),
			New("fast", func(context.Context) (string, error) { return "", nil }))
	}()
	if first := <-r.arrived; first != "fast" {
		t.Errorf("%s came first", first)
	}
	close(release)
	if code := <-done; code != ExitReported {
		t.Errorf("exit status %d", code)
	}
}

func TestRunEndsChecksBeforeTheDeadline(t *testing.T) {
	r := newReceiver(t, nil)
	t.Setenv(report.EnvRunDeadline, time.Now().Add(5*time.Second).Format(time.RFC3339Nano))
	stuck := make(chan struct{})
	defer close(stuck)
	var cleaned atomic.Int32
	code := run(t.Context(), io.Discard,
		created{New("polite", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", fmt.Errorf("waiting for the pod: %w", ctx.Err())
		}), func(ctx context.Context) error {
			if err := ctx.Err(); err != nil {
				t.Errorf("the cleanup has no time of its own: %v", err)
			}
			cleaned.Add(1)
			return nil
		}},
		short{New("limited", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", fmt.Errorf("in limits: %w", ctx.Err())
		}), 50 * time.Millisecond},
		shortCreated{created{
			New("stuck", func(context.Context) (string, error) { <-stuck; return "", nil }),
			func(context.Context) error { cleaned.Add(1); return nil },
		}, time.Second})
	if code != ExitReported {
		t.Errorf("exit status %d", code)
	}
	for name, want := range map[string]string{
		"polite": "waiting for the pod: context deadline exceeded", "limited": "in limits: context deadline exceeded",
		"stuck": "the check gave no verdict within 3s: its time is up",
	} {
		if got := r.result(name); got.Status != Unknown || got.Message != want {
			t.Errorf("%s: got %s %q, want UNKNOWN %q", name, got.Status, got.Message, want)
		}
	}
	if cleaned.Load() != 2 {
		t.Errorf("%d cleanups, want 2", cleaned.Load())
	}
}

func TestCleanupRunsHoweverACheckEnds(t *testing.T) {
	ends := map[string]func(ctx context.Context, stop func()) (string, error){
		"after a pass":    func(context.Context, func()) (string, error) { return "", nil },
		"after a panic":   func(context.Context, func()) (string, error) { panic("no") },
		"after a signal":  func(ctx context.Context, stop func()) (string, error) { stop(); <-ctx.Done(); return "", ctx.Err() },
		"after a failure": func(context.Context, func()) (string, error) { return "", Broken("bad") },
	}
	for name, check := range ends {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			cleaned := false
			code := run(ctx, io.Discard, created{
				New("c", func(ctx context.Context) (string, error) { return check(ctx, stop) }),
				func(ctx context.Context) error {
					cleaned = true
					if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
						t.Errorf("the context of the cleanup is bounded: %t, ended: %v", bounded, ctx.Err())
					}
					return nil
				},
			})
			if code != ExitReported || !cleaned || r.result("c").Name == "" {
				t.Errorf("exit status %d, cleaned %t, reported %+v", code, cleaned, r.result("c"))
			}
		})
	}
}

func TestRunNeverHasMoreChecksAtOnceThanAllowed(t *testing.T) {
	r := newReceiver(t, nil)
	client, err := report.NewClientFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	var running, most atomic.Int32
	var all []Checker
	for i := range 12 {
		all = append(all, New(fmt.Sprintf("c%d", i), func(context.Context) (string, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			return "", nil
		}))
	}
	runner := &Runner{Reporter: client, Parallel: 3, Log: io.Discard}
	if err := runner.Run(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if most.Load() > 3 || len(r.order) != 12 {
		t.Errorf("%d at once, %d reported", most.Load(), len(r.order))
	}
}

func TestChecksThatHaveNoTurnBeforeTheTimeIsUpAreUnknown(t *testing.T) {
	r := newReceiver(t, nil)
	client, err := report.NewClientFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	hog := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
	runner := &Runner{Reporter: client, Parallel: 1, Deadline: time.Now().Add(2 * time.Second), Log: io.Discard}
	if err := runner.Run(t.Context(), New("a", hog), New("b", hog)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if r.result(name).Status != Unknown {
			t.Errorf("%s: %+v", name, r.result(name))
		}
	}
}

func TestExitStatusSaysWhetherResultsWereReported(t *testing.T) {
	pass := New("c", func(context.Context) (string, error) { return "", nil })
	tests := map[string]struct {
		answer   func(n int) (int, string)
		set      map[string]string
		checkers []Checker
		code     int
		says     string
	}{
		"reported after the agent was away for a moment": {
			answer: func(n int) (int, string) {
				if n == 0 {
					return http.StatusServiceUnavailable, "starting"
				}
				return http.StatusOK, ""
			},
			checkers: []Checker{pass}, code: ExitReported,
		},
		"not reported when the run is over": {
			answer:   func(int) (int, string) { return http.StatusGone, "the run has ended" },
			checkers: []Checker{pass}, code: ExitNotReported, says: "reporting checker c: sending report: the run is over: the run has ended",
		},
		"not reported without the right URL": {
			answer:   func(int) (int, string) { return http.StatusForbidden, "no" },
			checkers: []Checker{pass}, code: ExitNotReported, says: "the report URL is not valid",
		},
		"wrong outside of a run": {
			set: map[string]string{report.EnvReportURL: ""}, checkers: []Checker{pass}, code: ExitUsage, says: report.EnvReportURL + " is not set",
		},
		"wrong with a deadline that is no time": {
			set: map[string]string{report.EnvRunDeadline: "soon"}, checkers: []Checker{pass}, code: ExitUsage, says: "parsing " + report.EnvRunDeadline,
		},
		"wrong with two checkers of one name": {checkers: []Checker{pass, pass}, code: ExitUsage, says: `two checkers are named "c"`},
		"wrong without checkers":              {code: ExitUsage, says: "there are no checkers"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			newReceiver(t, test.answer)
			for key, value := range test.set {
				t.Setenv(key, value)
			}
			var log bytes.Buffer
			code := run(t.Context(), &log, test.checkers...)
			if code != test.code || !strings.Contains(log.String(), test.says) {
				t.Errorf("exit status %d, want %d; log:\n%s\nwants %q", code, test.code, log.String(), test.says)
			}
			if strings.Contains(log.String(), "secret") {
				t.Errorf("the log holds the report URL:\n%s", log.String())
			}
		})
	}
}
