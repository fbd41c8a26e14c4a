// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	apiheartbeat "github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/master/internal/identity"
	"github.com/kubeprober/kubeprober/master/internal/index"
	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	// Secret is what agents present.
	Secret = "correct-horse"
	// maxClusters is more than any test has.
	maxClusters = 20_000
	// ProbeNamespace holds the Probes and ProbeRuns of the master.
	ProbeNamespace = "default"
)

// Master is the ground floor of a master: what controllers and agents need.
type Master struct {
	URL     string
	Manager ctrl.Manager
	Hub     *hub.Hub
	Fleet   *fleet.Fleet
	Beats   *heartbeat.Store
	Events  events.EventRecorder

	server *httptest.Server
	cancel context.CancelFunc
	ended  chan error
}

// StartMaster serves a hub and a heartbeat endpoint; setup registers controllers before anything starts.
func StartMaster(ctx context.Context, plane *Plane, setup func(*Master) error) (*Master, error) {
	mgr, err := ctrl.NewManager(plane.Config, ctrl.Options{
		Scheme: plane.Scheme,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&kubeproberv1.Probe{}:    {Namespaces: map[string]cache.Config{ProbeNamespace: {}}},
				&kubeproberv1.ProbeRun{}: {Namespaces: map[string]cache.Config{ProbeNamespace: {}}},
			},
		},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, err
	}
	if err := index.Add(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	m := &Master{Manager: mgr, Events: mgr.GetEventRecorder("probe-master"), Beats: heartbeat.NewStore(), ended: make(chan error, 1)}
	clusters, err := mgr.GetCache().GetInformer(ctx, &kubeproberv1.Cluster{})
	if err != nil {
		return nil, err
	}
	census := identity.NewCensus(maxClusters)
	if err := census.Follow(clusters); err != nil {
		return nil, err
	}
	binder := identity.NewBinder(mgr.GetClient(), mgr.GetAPIReader(), m.Events, census)
	m.Hub, err = hub.New(hub.Options{Secrets: func() [][]byte { return [][]byte{[]byte(Secret)} }, Binder: binder, Log: logr.Discard()})
	if err != nil {
		return nil, err
	}
	m.Fleet = fleet.New(fleet.Options{Tunnels: m.Hub, Scheme: mgr.GetScheme()})
	if err := setup(m); err != nil {
		return nil, err
	}
	ctx, m.cancel = context.WithCancel(ctx)
	go func() { m.ended <- mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, errors.New("the cache did not sync")
	}
	mux := http.NewServeMux()
	mux.Handle("/clusteragent/connect", m.Hub)
	mux.Handle(apiheartbeat.Path, heartbeat.NewHandler(m.Hub.Authenticate, binder, m.Beats))
	m.server = httptest.NewServer(mux)
	m.URL = m.server.URL
	return m, nil
}

// Stop ends the master as a shutdown does.
func (m *Master) Stop(ctx context.Context) error {
	err := m.Hub.Shutdown(ctx)
	m.server.Close()
	m.cancel()
	return errors.Join(err, <-m.ended)
}

// Managed is one managed cluster.
type Managed struct {
	Name, UID string
	// Namespace is where its agent runs probes.
	Namespace string
	Plane     *Plane
	// Target answers what comes through the tunnel. Default: the API server of Plane.
	Target http.Handler
}

// Tunnel is a running tunnel agent.
type Tunnel struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// Connect opens a tunnel to the hub at url and keeps it open until Close.
func (c *Managed) Connect(ctx context.Context, url string) (*Tunnel, error) {
	target := c.Target
	if target == nil {
		var err error
		if target, err = agent.APIServer(c.Plane.Config, logr.Discard()); err != nil {
			return nil, err
		}
	}
	a, err := agent.New(agent.Options{
		HubURL: url, Cluster: c.Name, UID: c.UID, Version: "test", Target: target, Log: logr.Discard(),
		Secret: func() ([]byte, error) { return []byte(Secret), nil },
	})
	if err != nil {
		return nil, err
	}
	t := &Tunnel{ended: make(chan struct{})}
	ctx, t.cancel = context.WithCancel(ctx)
	go func() {
		defer close(t.ended)
		t.err = a.Run(ctx)
	}()
	return t, nil
}

// Close closes the tunnel and waits for the agent's end. It may be called twice.
func (t *Tunnel) Close() error {
	t.cancel()
	<-t.ended
	return t.err
}

// Beat sends one heartbeat and returns the status code and text of the answer.
func (c *Managed) Beat(ctx context.Context, url string, beat apiheartbeat.Heartbeat) (int, string, error) {
	if beat.ProbeNamespace == "" {
		beat.ProbeNamespace = c.Namespace
	}
	body, err := json.Marshal(beat)
	if err != nil {
		return 0, "", err
	}
	return c.Post(ctx, url, Secret, body)
}

// Post sends any body as a heartbeat.
func (c *Managed) Post(ctx context.Context, url, secret string, body []byte) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+apiheartbeat.Path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set(apiheartbeat.ClusterHeader, c.Name)
	request.Header.Set(apiheartbeat.ClusterUIDHeader, c.UID)
	request.Header.Set(apiheartbeat.SecretHeader, secret)
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, string(text), nil
}
