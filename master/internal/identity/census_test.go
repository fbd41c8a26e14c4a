// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// counted is a census whose informer has synced and knows no Cluster.
func counted(limit int) *Census {
	c := NewCensus(limit)
	c.synced = func() bool { return true }
	return c
}

func named(name string) *kubeproberv1.Cluster {
	return &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func refusals(t *testing.T, c *Census) float64 {
	t.Helper()
	metrics := make(chan prometheus.Metric, 1)
	c.Collector().Collect(metrics)
	var value dto.Metric
	if err := (<-metrics).Write(&value); err != nil {
		t.Fatal(err)
	}
	return value.GetCounter().GetValue()
}

func TestAgentsRegisterNoMoreClustersThanTheLimit(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var failing error
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&kubeproberv1.Cluster{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
				if failing != nil {
					return failing
				}
				return c.Create(ctx, object, options...)
			},
		}).Build()
	census := counted(2)
	b := NewBinder(c, c, events.NewFakeRecorder(1), census)
	bind := func(name string) error {
		return b.Bind(t.Context(), hub.Identity{Cluster: name, UID: "uid-" + name})
	}

	// What the watch shows counts, whoever made it.
	census.set(named("by-hand"), true)
	failing = errors.New("the API server is away")
	if err := bind("a"); !errors.Is(err, failing) {
		t.Fatalf("binding while the API server is away: %v", err)
	}
	failing = nil
	if err := bind("a"); err != nil {
		t.Fatalf("binding the second of two: %v", err)
	}
	census.set(named("a"), true)
	err := bind("b")
	if !errors.Is(err, hub.ErrRefused) || !strings.Contains(fmt.Sprint(err), "--max-clusters") {
		t.Errorf("binding the third of two: %v, want a refusal that names --max-clusters", err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "b"}, &kubeproberv1.Cluster{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("reading the refused Cluster: %v, want that it does not exist", err)
	}
	if got := refusals(t, census); got != 1 {
		t.Errorf("%v refusals were counted, want 1", got)
	}
	if err := bind("a"); err != nil {
		t.Errorf("binding a registered cluster again: %v", err)
	}

	census.set(toolscache.DeletedFinalStateUnknown{Key: "by-hand", Obj: named("by-hand")}, false)
	if err := bind("b"); err != nil {
		t.Errorf("binding after a Cluster was deleted: %v", err)
	}
}

func TestNothingIsRegisteredBeforeTheClustersAreCounted(t *testing.T) {
	if _, err := NewCensus(1).reserve("a"); err == nil || errors.Is(err, hub.ErrRefused) {
		t.Errorf("got %v, want an error that makes the agent try again", err)
	}
}
