// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet is the one way by which the master's controllers reach managed clusters: a Kubernetes client for a name,
// an error that says when there is no tunnel, and the coming and going of tunnels as a source of work. It knows nothing
// of what is written into the clusters, nor of how a tunnel works.
package fleet

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// ErrNotConnected is what a call to a managed cluster fails with (wrapped) while it has no live tunnel. It is no fault:
// a source of the fleet wakes whoever waits for the tunnel.
var ErrNotConnected = hub.ErrNotConnected

// OriginAnnotation is on the copy of a ProbeRun in a managed cluster and holds the UID of the master's ProbeRun: a copy
// without it, or with another one, is somebody else's.
const OriginAnnotation = kubeproberv1.GroupName + "/origin-uid"

// requestTimeout is the default of Options.RequestTimeout.
const requestTimeout = 15 * time.Second

// Tunnels is what the fleet needs of the hub.
type Tunnels interface {
	Connected(cluster string) bool
	RoundTripper(cluster string) http.RoundTripper
	Disconnect(cluster, reason string) bool
	Subscribe(f func(hub.Event)) (unsubscribe func())
}

// Options say what a Fleet needs. Tunnels and Scheme are required.
type Options struct {
	Tunnels Tunnels
	// Scheme has the kinds that clients know. Of these they reach the namespaced ones that the master writes and reads:
	// Probe, ProbeRun and ConfigMap.
	Scheme *runtime.Scheme
	// RequestTimeout bounds one request to a managed cluster, its answer included. Default 15 s.
	RequestTimeout time.Duration
}

// Fleet gives clients to managed clusters. All methods may be called at once.
type Fleet struct {
	tunnels  Tunnels
	scheme   *runtime.Scheme
	mapper   meta.RESTMapper
	timeout  time.Duration
	silences *silences

	mu       sync.Mutex
	clients  map[string]client.Client
	sessions map[string]time.Time
}

// New returns a fleet.
func New(o Options) *Fleet {
	// The mapping is fixed, so that no client has to ask its cluster for what it serves.
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kubeproberv1.GroupVersion, corev1.SchemeGroupVersion})
	for _, kind := range []string{"Probe", "ProbeRun"} {
		mapper.Add(kubeproberv1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	return &Fleet{
		tunnels: o.Tunnels, scheme: o.Scheme, mapper: mapper,
		timeout: cmp.Or(o.RequestTimeout, requestTimeout), silences: newSilences(),
		clients: map[string]client.Client{}, sessions: map[string]time.Time{},
	}
}

// Client returns the client for a managed cluster. It may be kept: every request takes the live tunnel of its moment. It
// fails with ErrNotConnected when there is none now. A request to a cluster that did not answer the ones before in time
// fails with a NotAnsweringError at once, until it is time for another attempt.
func (f *Fleet) Client(cluster string) (client.Client, error) {
	if !f.tunnels.Connected(cluster) {
		return nil, fmt.Errorf("reaching cluster %s: %w", cluster, ErrNotConnected)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[cluster]; c != nil {
		return c, nil
	}
	// The host only fills the URL: the hub goes by the name of the cluster.
	way := attentive{next: bounded{next: f.tunnels.RoundTripper(cluster), cluster: cluster}, cluster: cluster, silences: f.silences}
	c, err := client.New(&rest.Config{Host: "http://" + cluster, QPS: -1}, client.Options{
		HTTPClient: &http.Client{Transport: way, Timeout: f.timeout},
		Scheme:     f.scheme,
		Mapper:     f.mapper,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the client for cluster %s: %w", cluster, err)
	}
	f.clients[cluster] = c
	return c, nil
}

// Session identifies the connection of a cluster: another value means that it was away in between, so that what was known
// of its content has to be verified. ok is false while the cluster has no live tunnel.
func (f *Fleet) Session(cluster string) (session time.Time, ok bool) {
	if !f.tunnels.Connected(cluster) {
		return time.Time{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[cluster], true
}

// Seen tells whether the cluster has been connected since this fleet exists.
func (f *Fleet) Seen(cluster string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, seen := f.sessions[cluster]
	return seen
}

// Remove closes the tunnels of a cluster that is no longer managed and forgets all about it.
func (f *Fleet) Remove(cluster, reason string) {
	f.tunnels.Disconnect(cluster, reason)
	f.silences.forget(cluster)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, cluster)
	delete(f.sessions, cluster)
}

// Source adds what requests returns for a cluster to the queue of a controller whenever that cluster has come or gone,
// and once for each cluster that is connected when the controller starts.
func (f *Fleet) Source(requests func(ctx context.Context, cluster string) []reconcile.Request) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		unsubscribe := f.tunnels.Subscribe(func(event hub.Event) {
			f.note(event)
			for _, request := range requests(ctx, event.Cluster) {
				queue.Add(request)
			}
		})
		context.AfterFunc(ctx, unsubscribe)
		return nil
	})
}

// note records the session before any controller is told of it. Several sources may report the same event.
func (f *Fleet) note(event hub.Event) {
	if !event.Connected {
		return
	}
	f.silences.reconnected(event.Cluster)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions[event.Cluster] = event.Time
}
