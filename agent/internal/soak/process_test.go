// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kubeprober/kubeprober/agent/internal/app"
)

// What the test tells an agent's process: the first two by the environment, all else line by line on its standard input.
const (
	agentEnv = "SOAK_AGENT_CLOCK"
	fuseEnv  = "SOAK_AGENT_FUSE"

	clockLine = "clock %d\n"
	fuseLine  = "crash %d %s\n"

	// How a crash cuts a request: before it is sent, or when the API server has answered and nobody has read the answer.
	beforeRequest = "before"
	afterRequest  = "after"
)

// TestMain runs an agent where the test has started this program anew, and the tests elsewhere.
func TestMain(m *testing.M) {
	now := os.Getenv(agentEnv)
	if now == "" {
		os.Exit(m.Run())
	}
	if err := runAgent(now); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// runAgent is the agent as main makes it, but for its clock and for the fuse in its way to the API server.
func runAgent(now string) error {
	nanoseconds, err := strconv.ParseInt(now, 10, 64)
	if err != nil {
		return fmt.Errorf("reading %s: %w", agentEnv, err)
	}
	options, err := app.ParseOptions(os.Args[1:], os.Getenv)
	if err != nil {
		return err
	}
	clock := newSteppedClock(time.Unix(0, nanoseconds))
	options.Clock, options.NewQueue = clock, clock.newQueue
	log, err := app.NewLogger(options, os.Stderr)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	f := &fuse{}
	if line := os.Getenv(fuseEnv); line != "" {
		if err := f.obey(line); err != nil {
			return err
		}
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &fusedTransport{next: next, fuse: f} })
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go obey(os.Stdin, clock, f)
	return app.Run(ctx, options, config, "v0.0.0-soak", log)
}

// obey does what the test says. An agent does not outlive its test.
func obey(lines io.Reader, clock *steppedClock, f *fuse) {
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		var nanoseconds int64
		if _, err := fmt.Sscanf(scanner.Text(), clockLine, &nanoseconds); err == nil {
			clock.set(time.Unix(0, nanoseconds))
		} else if err := f.obey(scanner.Text()); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(2)
		}
	}
	os.Exit(3)
}

// fuse ends the process at one of its requests.
type fuse struct {
	mu sync.Mutex
	// left is how many requests still pass, the one that is cut included; 0 for all.
	left int
	cut  string
}

func (f *fuse) obey(line string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := fmt.Sscanf(line, fuseLine, &f.left, &f.cut)
	if err == nil && f.cut != beforeRequest && f.cut != afterRequest {
		err = errors.New("a crash is " + beforeRequest + " or " + afterRequest + " a request")
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", line, err)
	}
	return nil
}

// pass counts a request, and tells how it is cut, if it is.
func (f *fuse) pass() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return ""
	}
	if f.left--; f.left > 0 {
		return ""
	}
	return f.cut
}

// fusedTransport counts requests. A crash is one: SIGKILL, nothing of the process goes on.
type fusedTransport struct {
	next http.RoundTripper
	fuse *fuse
}

func (t *fusedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	cut := t.fuse.pass()
	if cut == beforeRequest {
		crash()
	}
	response, err := t.next.RoundTrip(request)
	if cut == afterRequest {
		crash()
	}
	return response, err
}

func crash() {
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGKILL); err != nil {
		fmt.Fprintln(os.Stderr, "agent: crashing:", err)
		os.Exit(2)
	}
	select {}
}

func TestTheFuseCutsTheRequestThatItIsSetTo(t *testing.T) {
	f := &fuse{}
	if err := f.obey("crash 3 after"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "", afterRequest, ""} {
		if got := f.pass(); got != want {
			t.Errorf("request %d is cut %q, want %q", i+1, got, want)
		}
	}
	if err := f.obey("crash 3 sometime"); err == nil {
		t.Error("nonsense is obeyed")
	}
}
