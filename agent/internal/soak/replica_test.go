// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// readyInterval is how often a starting agent is asked whether it is ready.
	readyInterval = 50 * time.Millisecond
	// stopTimeout is how long an agent may take to stop when it is asked to.
	stopTimeout = 30 * time.Second
)

// site is what all agents of a soak have in common.
type site struct {
	kubeconfig, namespace, logs string
	// changed is told when an agent has become ready or has ended.
	changed func()
}

// replica is the process of one agent.
type replica struct {
	name    string
	reports string
	log     string
	command *exec.Cmd
	lines   io.WriteCloser
	ready   atomic.Bool
	// armed tells that it was told to crash.
	armed bool
	// ended is closed when the process has ended, after err was set.
	ended chan struct{}
	err   error
}

// startReplica starts an agent at a time. fuse is a line of the protocol or empty.
func (s *site) startReplica(ctx context.Context, name string, now time.Time, elect bool, fuse string) (*replica, error) {
	reports, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	health, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	r := &replica{name: name, reports: reports, armed: fuse != "", ended: make(chan struct{}), log: filepath.Join(s.logs, name+".log")}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	r.command = exec.CommandContext(ctx, os.Args[0],
		"--probe-namespace="+s.namespace, "--report-url=http://"+reports, "--report-bind-address="+reports,
		"--health-probe-bind-address="+health, "--metrics-bind-address=0", fmt.Sprintf("--leader-elect=%t", elect))
	r.command.Env = append(os.Environ(), fmt.Sprintf("%s=%d", agentEnv, now.UnixNano()), fuseEnv+"="+fuse, "KUBECONFIG="+s.kubeconfig)
	r.command.Stdout, r.command.Stderr = log, log
	if r.lines, err = r.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("starting agent %s: %w", name, err)
	}
	go func() {
		r.err = r.command.Wait()
		close(r.ended)
		s.changed()
	}()
	go r.awaitReady(ctx, "http://"+health+"/readyz", s.changed)
	return r, nil
}

func (r *replica) awaitReady(ctx context.Context, url string, changed func()) {
	client := &http.Client{Timeout: time.Second}
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.ended:
			return
		case <-ticker.C:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		response, err := client.Do(request)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			r.ready.Store(true)
			changed()
			return
		}
	}
}

// tell sends a line. An agent that has just crashed does not hear it.
func (r *replica) tell(line string) error {
	_, err := io.WriteString(r.lines, line)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (r *replica) hasEnded() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// crashed tells whether the process was killed. Only after its end.
func (r *replica) crashed() bool {
	status, ok := r.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stop ends the agent as Kubernetes does.
func (r *replica) stop() error {
	if err := r.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping agent %s: %w", r.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
		return fmt.Errorf("stopping agent %s: it runs on after %s%s", r.name, stopTimeout, r.tail())
	}
	if r.err != nil && (!r.armed || !r.crashed()) {
		return fmt.Errorf("stopping agent %s: %w%s", r.name, r.err, r.tail())
	}
	return nil
}

// tail is the end of the agent's log.
func (r *replica) tail() string {
	const lines = 25
	data, err := os.ReadFile(r.log)
	if err != nil {
		return "; its log cannot be read: " + err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "; the end of its log:\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}

// freeAddress is below the ports that the kernel gives out, which others on this machine may get before it is listened on.
func freeAddress(ctx context.Context) (string, error) {
	var last error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			last = err
			continue
		}
		return address, listener.Close()
	}
	return "", fmt.Errorf("finding a free port: %w", last)
}
