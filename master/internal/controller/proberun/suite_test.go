// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/controller/cluster"
	"github.com/kubeprober/kubeprober/master/internal/controller/proberun"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

var (
	plane  *testenv.Plane
	master *testenv.Master
	serial atomic.Int64
)

func TestProbeRunController(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(10 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	SetDefaultConsistentlyDuration(500 * time.Millisecond)
	RunSpecs(t, "proberun controller")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var err error
	plane, err = testenv.StartPlane(nil)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	master, err = testenv.StartMaster(context.WithoutCancel(ctx), plane, func(m *testenv.Master) error {
		err := (&cluster.Reconciler{
			Client: m.Manager.GetClient(), Fleet: m.Fleet, Beats: m.Beats, Events: m.Events, ProbeNamespace: testenv.ProbeNamespace,
		}).SetupWithManager(m.Manager)
		if err != nil {
			return err
		}
		return (&proberun.Reconciler{
			Client: m.Manager.GetClient(), Fleet: m.Fleet, Beats: m.Beats, ProbeNamespace: testenv.ProbeNamespace,
		}).SetupWithManager(m.Manager)
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) { Expect(master.Stop(ctx)).To(Succeed()) })
})

// newManaged makes a managed cluster that has been heard and has no tunnel.
func newManaged(ctx context.Context) *testenv.Managed {
	GinkgoHelper()
	n := serial.Add(1)
	c := &testenv.Managed{Name: fmt.Sprintf("edge-%d", n), UID: fmt.Sprintf("uid-%d", n), Namespace: fmt.Sprintf("probes-%d", n), Plane: plane}
	Expect(plane.CreateNamespace(ctx, c.Namespace)).To(Succeed())
	beat(ctx, c)
	return c
}

func connected(ctx context.Context) *testenv.Managed {
	GinkgoHelper()
	c := newManaged(ctx)
	connect(ctx, c)
	return c
}

func connect(ctx context.Context, c *testenv.Managed) *testenv.Tunnel {
	GinkgoHelper()
	tunnel, err := c.Connect(context.WithoutCancel(ctx), master.URL)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(tunnel.Close)
	Eventually(master.Hub.Connected).WithArguments(c.Name).Should(BeTrue())
	return tunnel
}

// beat sends what the agent of the cluster would: how far its runs are.
func beat(ctx context.Context, c *testenv.Managed) {
	GinkgoHelper()
	runs := &kubeproberv1.ProbeRunList{}
	Expect(plane.Client.List(ctx, runs, client.InNamespace(c.Namespace))).To(Succeed())
	b := heartbeat.Heartbeat{}
	for _, run := range runs.Items {
		b.Runs = append(b.Runs, heartbeat.Run{ID: run.Name, Phase: run.Status.Phase, ResourceVersion: run.ResourceVersion})
	}
	code, text, err := c.Beat(ctx, master.URL, b)
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(Equal(http.StatusNoContent), text)
}

func createProbe(ctx context.Context, name string) {
	GinkgoHelper()
	p := testenv.Probe(testenv.ProbeNamespace, name)
	Expect(plane.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(plane.Client.Delete(ctx, p))).To(Succeed()) })
}

func createRun(ctx context.Context, cluster string, edit func(*kubeproberv1.ProbeRun), probes ...string) *kubeproberv1.ProbeRun {
	GinkgoHelper()
	run := &kubeproberv1.ProbeRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.ProbeNamespace, Name: fmt.Sprintf("16305%05d", serial.Add(1))},
		Spec:       kubeproberv1.ProbeRunSpec{ClusterName: cluster},
	}
	for _, name := range probes {
		run.Spec.Probes = append(run.Spec.Probes, kubeproberv1.RunProbe{Name: name})
	}
	if edit != nil {
		edit(run)
	}
	Expect(plane.Client.Create(ctx, run)).To(Succeed())
	return run
}

// get reads a run of the master; it has no name when there is none.
func get(ctx context.Context, name string) (*kubeproberv1.ProbeRun, error) {
	return read(ctx, testenv.ProbeNamespace, name)
}

func read(ctx context.Context, namespace, name string) (*kubeproberv1.ProbeRun, error) {
	run := &kubeproberv1.ProbeRun{}
	err := plane.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, run)
	return run, client.IgnoreNotFound(err)
}

// accepted reads the Accepted condition as "Status Reason".
func accepted(ctx context.Context, name string) (string, error) {
	run, err := get(ctx, name)
	if err != nil {
		return "", err
	}
	found := meta.FindStatusCondition(run.Status.Conditions, kubeproberv1.ProbeRunAcceptedCondition)
	if found == nil {
		return "", nil
	}
	return string(found.Status) + " " + found.Reason, nil
}

// finish plays the agent: it ends a run in the managed cluster and tells the master.
func finish(ctx context.Context, c *testenv.Managed, name string, phase kubeproberv1.RunPhase) {
	GinkgoHelper()
	var run *kubeproberv1.ProbeRun
	Eventually(func() (string, error) {
		var err error
		run, err = read(ctx, c.Namespace, name)
		return run.Name, err
	}).Should(Equal(name))
	now := metav1.Now()
	run.Status = kubeproberv1.ProbeRunStatus{Phase: phase, StartTime: &now}
	for _, p := range run.Spec.Probes {
		result := kubeproberv1.RunProbeStatus{Name: p.Name, Phase: phase, StartTime: &now}
		if phase.Finished() {
			result.FinishTime, result.Status = &now, kubeproberv1.CheckerPass
			result.Checkers = []kubeproberv1.CheckerResult{{Name: "dns", Status: kubeproberv1.CheckerPass, Message: "resolved"}}
		}
		run.Status.Probes = append(run.Status.Probes, result)
	}
	if phase.Finished() {
		run.Status.FinishTime = &now
	}
	Expect(plane.Client.Status().Update(ctx, run)).To(Succeed())
	beat(ctx, c)
}
