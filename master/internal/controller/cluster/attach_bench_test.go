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
	"k8s.io/apimachinery/pkg/watch"

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
	// Listing the fleet again and again would take more of the API server's time than the fleet.
	watch, err := plane.Client.Watch(b.Context(), &kubeproberv1.ClusterList{})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Stop()
	if err := plane.Client.Create(b.Context(), probe); err != nil {
		b.Fatal(err)
	}
	awaitHolding(b, watch, size, true)
	b.StopTimer()
	if err := plane.Client.Delete(b.Context(), probe); err != nil {
		b.Fatal(err)
	}
	awaitHolding(b, watch, size, false)
	b.StartTimer()
}

// awaitHolding waits until so many Clusters show the Probe as attached, or as not attached.
func awaitHolding(b *testing.B, watch watch.Interface, size int, attached bool) {
	b.Helper()
	patience := time.NewTimer(2 * time.Minute)
	defer patience.Stop()
	done := map[string]bool{}
	for len(done) < size {
		select {
		case event := <-watch.ResultChan():
			c, ok := event.Object.(*kubeproberv1.Cluster)
			if !ok {
				b.Fatalf("watching Clusters: %v", event)
			}
			if slices.Contains(c.Status.AttachedProbes, "bench") == attached {
				done[c.Name] = true
			} else {
				delete(done, c.Name)
			}
		case <-patience.C:
			b.Fatalf("%d of %d clusters are done after two minutes", len(done), size)
		}
	}
}
