// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	readyInterval = 50 * time.Millisecond
	stopTimeout   = 60 * time.Second
)

// program is what to start. It runs as its service account, which is named as its Deployment is.
type program struct {
	name, path string
	plane      *plane
	// health is the address of its /readyz.
	health    string
	args, env []string
}

// process is a program that runs.
type process struct {
	name    string
	command *exec.Cmd
	log     string
	ended   chan struct{}
	err     error
}

// startProcess starts a program as its Deployment would, and returns when it is ready. It ends with the rig.
func (r *rig) startProcess(ctx context.Context, p *program) (*process, error) {
	kubeconfig, err := p.plane.kubeconfig(ctx, p.name)
	if err != nil {
		return nil, err
	}
	env, err := p.plane.environmentOf(p.name)
	if err != nil {
		return nil, err
	}
	started := &process{name: p.name, log: filepath.Join(r.config.logs, p.name+".log"), ended: make(chan struct{})}
	log, err := os.Create(started.log)
	if err != nil {
		return nil, fmt.Errorf("creating the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	// It is stopped by close, when all is measured, and not by the phase that starts it.
	started.command = exec.CommandContext(context.WithoutCancel(ctx), p.path, p.args...)
	// The last of several values of a variable counts.
	started.command.Env = append(append(env, "KUBECONFIG="+kubeconfig, "PATH="+os.Getenv("PATH")), p.env...)
	started.command.Stdout, started.command.Stderr = log, log
	if err := started.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		started.err = started.command.Wait()
		close(started.ended)
	}()
	r.onClose(started.stop)
	return started, started.awaitReady(ctx, "http://"+p.health+"/readyz")
}

func (p *process) awaitReady(ctx context.Context, url string) error {
	client := &http.Client{Timeout: time.Second}
	err := wait.PollUntilContextCancel(ctx, readyInterval, true, func(ctx context.Context) (bool, error) {
		select {
		case <-p.ended:
			return false, errors.New("it has ended")
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		response, err := client.Do(request)
		if err != nil {
			// It does not listen yet.
			return false, nil //nolint:nilerr // see above
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w%s", p.name, err, p.tail())
	}
	return nil
}

func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		return errors.Join(fmt.Errorf("stopping %s: it runs on after %s", p.name, stopTimeout), p.command.Process.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("running %s: %w%s", p.name, p.err, p.tail())
	}
	return nil
}

// tail is the end of the log.
func (p *process) tail() string {
	const lines = 15
	data, err := os.ReadFile(p.log)
	if err != nil {
		return "; its log cannot be read: " + err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "; the end of its log:\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}

// memory reads a line of /proc/PID/status, such as VmRSS, in bytes.
func (p *process) memory(name string) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", p.name, err)
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		value, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s of %s: %w", name, p.name, err)
		}
		return kilobytes * 1024, nil
	}
	return 0, fmt.Errorf("reading the memory of %s: there is no %s", p.name, name)
}
