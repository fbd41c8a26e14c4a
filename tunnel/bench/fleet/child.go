// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
)

// Roles of child processes.
const (
	roleHub    = "hub"
	roleAgents = "agents"
)

// command is what the parent asks of a child, one at a time, as a line of JSON. Which fields
// count is up to the command.
type command struct {
	Do string

	Material site.Material
	Address  string // to listen at
	HubURL   string // to dial

	First, Count int // agents by number
	Pace         time.Duration
	File         string
}

// answer is what the child answers.
type answer struct {
	Error   string
	Address string
	Figures map[string]float64
}

// actor does the commands of a role.
type actor interface {
	do(ctx context.Context, c command) (answer, error)
	close() error
}

// serveCommands does what comes in until that ends.
func serveCommands(ctx context.Context, in io.Reader, out io.Writer, a actor) error {
	commands := json.NewDecoder(bufio.NewReader(in))
	answers := json.NewEncoder(out)
	for {
		var c command
		if err := commands.Decode(&c); errors.Is(err, io.EOF) {
			return a.close()
		} else if err != nil {
			return fmt.Errorf("reading a command: %w", err)
		}
		got, err := a.do(ctx, c)
		if err != nil {
			got.Error = fmt.Sprintf("doing %q: %v", c.Do, err)
		}
		if err := answers.Encode(got); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// child is a process that this one started.
type child struct {
	role    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startChild(ctx context.Context, role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process of the %s: %w", role, err)
	}
	return &child{role: role, cmd: cmd, in: in, answers: json.NewDecoder(out)}, nil
}

// do has the child do c.
func (p *child) do(c command) (answer, error) {
	if err := json.NewEncoder(p.in).Encode(c); err != nil {
		return answer{}, fmt.Errorf("asking the %s: %w", p.role, err)
	}
	var got answer
	if err := p.answers.Decode(&got); err != nil {
		return answer{}, fmt.Errorf("waiting for the %s to do %q: %w", p.role, c.Do, err)
	}
	if got.Error != "" {
		return got, fmt.Errorf("the %s failed %s", p.role, got.Error)
	}
	return got, nil
}

// end lets the child stop in its own way.
func (p *child) end() error {
	_ = p.in.Close() // it is gone already
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("ending the %s: %w", p.role, err)
	}
	return nil
}

// kill ends the child at once.
func (p *child) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("killing the %s: %w", p.role, err)
	}
	_ = p.cmd.Wait() // says that it was killed
	return nil
}
