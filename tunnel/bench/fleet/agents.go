// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
)

// smallSize is the size of an answer, in bytes.
const smallSize = 100

// Figures of the agents.
const (
	figureRefused = "refused"
	figureFailed  = "failed"
)

// agentsProcess is many agents with one server behind all of them.
type agentsProcess struct {
	cancel context.CancelFunc
	agents []*site.Agent
	events tally
}

func (p *agentsProcess) do(ctx context.Context, c command) (answer, error) {
	switch c.Do {
	case "start":
		return answer{}, p.start(ctx, c)
	case "tally":
		return answer{Figures: map[string]float64{
			figureRefused: float64(p.events.refused.Load()),
			figureFailed:  float64(p.events.failed.Load()),
		}}, nil
	}
	return answer{}, errors.New("no such command")
}

// start starts agents at the pace asked for, so that it is not the first connect that is
// measured.
func (p *agentsProcess) start(ctx context.Context, c command) error {
	roots, err := c.Material.Roots()
	if err != nil {
		return err
	}
	small := make([]byte, smallSize)
	server := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(small) // a hub that is gone counts as failed itself
	})
	ctx, p.cancel = context.WithCancel(ctx)
	log := logr.New(&p.events)
	pace := time.NewTicker(c.Pace)
	defer pace.Stop()
	for i := range c.Count {
		a, err := site.StartAgent(ctx, c.HubURL, fmt.Sprintf("cluster-%d", c.First+i), server, roots, log)
		if err != nil {
			return err
		}
		p.agents = append(p.agents, a)
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *agentsProcess) close() error {
	if p.cancel == nil {
		return nil
	}
	p.cancel()
	var all sync.WaitGroup
	errs := make([]error, len(p.agents))
	for i, a := range p.agents {
		all.Go(func() { errs[i] = a.Stop() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// tally is a logr.LogSink that counts what the agents complain of: connects that the hub
// refused, and those that failed in another way.
type tally struct {
	refused, failed atomic.Int64
}

// Init implements logr.LogSink.
func (t *tally) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (t *tally) Enabled(int) bool { return true }

// Info implements logr.LogSink.
func (t *tally) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (t *tally) Error(_ error, _ string, keysAndValues ...any) {
	for i := 0; i < len(keysAndValues); i += 2 {
		if keysAndValues[i] == "status" {
			t.refused.Add(1)
			return
		}
	}
	t.failed.Add(1)
}

// WithValues implements logr.LogSink.
func (t *tally) WithValues(...any) logr.LogSink { return t }

// WithName implements logr.LogSink.
func (t *tally) WithName(string) logr.LogSink { return t }
