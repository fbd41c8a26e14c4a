// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/controller/cluster"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

// BenchmarkAttach measures how long it takes until every cluster of a fleet holds a Probe that its label names, from the
// moment at which the Probe exists. All clusters share one API server, so most of the time is that server's.
func BenchmarkAttach(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("clusters=%d", size), func(b *testing.B) {
			plane, err := testenv.StartPlane(nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = plane.Stop() })
			master, err := testenv.StartMaster(b.Context(), plane, func(m *testenv.Master) error {
				return (&cluster.Reconciler{
					Client: m.Manager.GetClient(), Fleet: m.Fleet, Beats: m.Beats, Events: m.Events, ProbeNamespace: testenv.ProbeNamespace,
				}).SetupWithManager(m.Manager)
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = master.Stop(context.WithoutCancel(b.Context())) })
			for i := range size {
				join(b, plane, master, fmt.Sprintf("fleet-%d", i))
			}
			for b.Loop() {
				attachAll(b, plane, size)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/fleet")
		})
	}
}

// join connects one labelled cluster.
func join(b *testing.B, plane *testenv.Plane, master *testenv.Master, name string) {
	b.Helper()
	c := &testenv.Managed{Name: name, UID: "uid-" + name, Namespace: name, Plane: plane}
	if err := plane.CreateNamespace(b.Context(), name); err != nil {
		b.Fatal(err)
	}
	labelled := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"probe/bench": "true"}}}
	if err := plane.Client.Create(b.Context(), labelled); err != nil {
		b.Fatal(err)
	}
	tunnel, err := c.Connect(b.Context(), master.URL)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tunnel.Close() })
	if code, text, err := c.Beat(b.Context(), master.URL, heartbeat.Heartbeat{}); err != nil || code != http.StatusNoContent {
		b.Fatalf("heartbeat answered %d %s, %v", code, text, err)
	}
	err = wait.PollUntilContextTimeout(b.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return master.Hub.Connected(name), nil
	})
	if err != nil {
		b.Fatalf("connecting %s: %v", name, err)
	}
}

func attachAll(b *testing.B, plane *testenv.Plane, size int) {
	b.Helper()
	probe := testenv.Probe(testenv.ProbeNamespace, "bench")
	if err := plane.Client.Create(b.Context(), probe); err != nil {
		b.Fatal(err)
	}
	awaitHolding(b, plane, size)
	b.StopTimer()
	if err := plane.Client.Delete(b.Context(), probe); err != nil {
		b.Fatal(err)
	}
	awaitHolding(b, plane, 0)
	b.StartTimer()
}

// awaitHolding waits until so many Clusters show the Probe as attached.
func awaitHolding(b *testing.B, plane *testenv.Plane, want int) {
	b.Helper()
	err := wait.PollUntilContextTimeout(b.Context(), 200*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		list := &kubeproberv1.ClusterList{}
		if err := plane.Client.List(ctx, list); err != nil {
			return false, err
		}
		holding := 0
		for i := range list.Items {
			if slices.Contains(list.Items[i].Status.AttachedProbes, "bench") {
				holding++
			}
		}
		return holding == want, nil
	})
	if err != nil {
		b.Fatalf("waiting for %d clusters: %v", want, err)
	}
}
