// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/x509"
	"net/http"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// ConnectPath is where agents dial in.
const ConnectPath = "/clusteragent/connect"

const secret = "the secret of the benchmarks"

type anyone struct{}

// Bind implements hub.Binder.
func (anyone) Bind(context.Context, hub.Identity) error { return nil }

// NewHub returns a hub with default limits that takes every cluster with the right secret.
func NewHub() (*hub.Hub, error) {
	return hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte(secret)} },
		Binder:  anyone{},
		Log:     logr.Discard(),
	})
}

// Agent is an agent at work.
type Agent struct {
	stop context.CancelFunc
	done chan error
}

// StartAgent starts an agent for cluster that answers with target.
func StartAgent(ctx context.Context, hubURL, cluster string, target http.Handler, roots *x509.CertPool, log logr.Logger) (*Agent, error) {
	a, err := agent.New(agent.Options{
		HubURL:  hubURL,
		Cluster: cluster,
		UID:     "uid-of-" + cluster,
		Secret:  func() ([]byte, error) { return []byte(secret), nil },
		Version: "bench",
		Target:  target,
		RootCAs: roots,
		Log:     log,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	running := &Agent{stop: cancel, done: make(chan error, 1)}
	go func() { running.done <- a.Run(ctx) }()
	return running, nil
}

// Stop ends the agent and returns when it has ended.
func (a *Agent) Stop() error {
	a.stop()
	return <-a.done
}

// AwaitClusters returns when h has had count clusters connected at one time.
func AwaitClusters(ctx context.Context, h *hub.Hub, count int) error {
	reached := make(chan struct{})
	connected := map[string]bool{}
	closed := false
	// Events come one at a time.
	unsubscribe := h.Subscribe(func(e hub.Event) {
		if e.Connected {
			connected[e.Cluster] = true
		} else {
			delete(connected, e.Cluster)
		}
		if len(connected) >= count && !closed {
			closed = true
			close(reached)
		}
	})
	defer unsubscribe()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
