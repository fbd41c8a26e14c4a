// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

var errNotCounted = errors.New("the Clusters have not been counted yet")

// Census counts the Clusters, so that whoever has the shared secret cannot fill the master cluster with them. All methods
// may be called at once.
type Census struct {
	limit   int
	refused prometheus.Counter

	mu     sync.Mutex
	synced func() bool
	// names are those of the Clusters; the value is false while one is being created and the watch has not shown it.
	names map[string]bool
}

// NewCensus returns a Census that lets agents create Clusters while there are fewer than limit. It refuses all until it
// follows an informer that has synced.
func NewCensus(limit int) *Census {
	return &Census{
		limit: limit, names: map[string]bool{}, synced: func() bool { return false },
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubeprober_clusters_refused_total", Help: "Attempts to register a Cluster that the limit of Clusters refused.",
		}),
	}
}

// Follow counts the Clusters of an informer.
func (c *Census) Follow(clusters cache.Informer) error {
	registration, err := clusters.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { c.set(object, true) },
		DeleteFunc: func(object any) { c.set(object, false) },
	})
	if err != nil {
		return fmt.Errorf("counting Clusters: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = registration.HasSynced
	return nil
}

func (c *Census) set(object any, exists bool) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	cluster, ok := object.(client.Object)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if exists {
		c.names[cluster.GetName()] = true
	} else {
		delete(c.names, cluster.GetName())
	}
}

// reserve makes room for one more Cluster, or tells why there is none. The caller calls cancel when it did not create it.
func (c *Census) reserve(name string) (cancel func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.synced() {
		return nil, errNotCounted
	}
	if _, known := c.names[name]; known {
		return func() {}, nil
	}
	if len(c.names) >= c.limit {
		c.refused.Inc()
		return nil, fmt.Errorf("%w: the master has %d Clusters, as many as --max-clusters lets agents register; run \"kubectl delete cluster NAME\" on the master for those that are gone for good, or raise the limit",
			hub.ErrRefused, len(c.names))
	}
	c.names[name] = false
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.names[name] {
			delete(c.names, name)
		}
	}, nil
}

// Collector returns the metric of what was refused.
func (c *Census) Collector() prometheus.Collector { return c.refused }
