// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/controller/cluster"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
	"github.com/kubeprober/kubeprober/tunnel/agent"
)

// frozen answers nothing until it is thawed.
type frozen struct {
	requests atomic.Int64
	thawed   chan struct{}
	next     http.Handler
}

func (f *frozen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	select {
	case <-f.thawed:
		f.next.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}

var _ = Describe("clusters that hang", Ordered, func() {
	// All clusters of this container are on a control plane of their own: no other master may serve them.
	const workers, hanging = 2, 8
	var own *testenv.Plane
	var ownMaster *testenv.Master
	var frozenOnes []*frozen

	start := func(ctx context.Context, patience time.Duration) {
		GinkgoHelper()
		var err error
		ownMaster, err = testenv.StartMaster(context.WithoutCancel(ctx), own, func(m *testenv.Master) error {
			m.Fleet = fleet.New(fleet.Options{Tunnels: m.Hub, Scheme: own.Scheme, RequestTimeout: patience})
			return (&cluster.Reconciler{
				Client: m.Manager.GetClient(), Fleet: m.Fleet, Beats: m.Beats, Events: m.Events, ProbeNamespace: probeNamespace, Concurrency: workers,
			}).SetupWithManager(m.Manager)
		})
		Expect(err).NotTo(HaveOccurred())
	}
	join := func(ctx context.Context, name string, target http.Handler) *testenv.Managed {
		GinkgoHelper()
		c := &testenv.Managed{Name: name, UID: "uid-" + name, Namespace: name, Plane: own, Target: target}
		tunnel, err := c.Connect(context.WithoutCancel(ctx), ownMaster.URL)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(tunnel.Close)
		code, text, err := c.Beat(ctx, ownMaster.URL, heartbeat.Heartbeat{Probes: []kubeproberv1.ClusterProbeStatus{result("p", kubeproberv1.CheckerPass, 1, 0)}})
		Expect(err).NotTo(HaveOccurred())
		Expect(code).To(Equal(http.StatusNoContent), text)
		return c
	}
	condition := func(ctx context.Context, name, kind string) (string, error) { return conditionOf(ctx, own, name, kind) }

	BeforeAll(func(ctx SpecContext) {
		var err error
		own, err = testenv.StartPlane(nil)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(own.Stop()).To(Succeed()) })
		Expect(own.Client.Create(ctx, testenv.Probe(probeNamespace, "p"))).To(Succeed())
		for _, name := range []string{"healthy", "late"} {
			Expect(own.CreateNamespace(ctx, name)).To(Succeed())
			Expect(own.Client.Create(ctx, labelled(name, "p"))).To(Succeed())
		}
		for i := range hanging {
			name := fmt.Sprintf("frozen-%d", i)
			Expect(own.CreateNamespace(ctx, name)).To(Succeed())
			Expect(own.Client.Create(ctx, labelled(name, "p"))).To(Succeed())
		}
	})
	freeze := func(ctx context.Context) {
		GinkgoHelper()
		api, err := agent.APIServer(own.Config, logr.Discard())
		Expect(err).NotTo(HaveOccurred())
		frozenOnes = nil
		for i := range hanging {
			f := &frozen{thawed: make(chan struct{}), next: api}
			frozenOnes = append(frozenOnes, f)
			join(ctx, fmt.Sprintf("frozen-%d", i), f)
		}
	}
	asked := func() int {
		n := 0
		for _, f := range frozenOnes {
			if f.requests.Load() > 0 {
				n++
			}
		}
		return n
	}

	It("keep no results of the others from being written, however many hang", func(ctx SpecContext) {
		start(ctx, time.Hour)
		DeferCleanup(func(ctx SpecContext) { Expect(ownMaster.Stop(ctx)).To(Succeed()) })
		freeze(ctx)
		Eventually(asked).Should(Equal(workers), "as many are waited for as may be")
		join(ctx, "healthy", nil)
		Eventually(condition).WithArguments(ctx, "healthy", readiness).Should(Equal("True CheckersPass"))
		Eventually(condition).WithArguments(ctx, "frozen-7", readiness).Should(Equal("True CheckersPass"), "its heartbeat says so")
		// One that answers again makes room for the next.
		for _, f := range frozenOnes {
			close(f.thawed)
		}
		for i := range hanging {
			Eventually(condition).WithArguments(ctx, fmt.Sprintf("frozen-%d", i), synced).Should(Equal("True Synced"))
		}
		Eventually(condition).WithArguments(ctx, "healthy", synced).Should(Equal("True Synced"))
	})

	It("are left alone for a while, so that the others get their probes, and get theirs when they answer", func(ctx SpecContext) {
		start(ctx, 200*time.Millisecond)
		DeferCleanup(func(ctx SpecContext) { Expect(ownMaster.Stop(ctx)).To(Succeed()) })
		freeze(ctx)
		for i := range hanging {
			Eventually(condition).WithArguments(ctx, fmt.Sprintf("frozen-%d", i), synced).Should(Equal("False SyncFailed"))
		}
		join(ctx, "late", nil)
		Eventually(condition).WithArguments(ctx, "late", synced).Should(Equal("True Synced"))
		for _, f := range frozenOnes {
			close(f.thawed)
		}
		for i := range hanging {
			Eventually(condition).WithArguments(ctx, fmt.Sprintf("frozen-%d", i), synced).WithTimeout(time.Minute).Should(Equal("True Synced"))
		}
	})
})
