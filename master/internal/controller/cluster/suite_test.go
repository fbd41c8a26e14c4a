// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

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
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/controller/cluster"
	"github.com/kubeprober/kubeprober/master/internal/controller/probe"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

const probeNamespace = testenv.ProbeNamespace

var (
	plane  *testenv.Plane
	master *testenv.Master
	serial atomic.Int64
)

func TestClusterController(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(10 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	SetDefaultConsistentlyDuration(500 * time.Millisecond)
	RunSpecs(t, "cluster controller")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var err error
	plane, err = testenv.StartPlane(nil)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	master = startMaster(ctx)
	DeferCleanup(func(ctx SpecContext) { Expect(master.Stop(ctx)).To(Succeed()) })
})

func startMaster(ctx context.Context) *testenv.Master {
	GinkgoHelper()
	m, err := testenv.StartMaster(context.WithoutCancel(ctx), plane, func(m *testenv.Master) error {
		err := (&cluster.Reconciler{
			Client: m.Manager.GetClient(), Fleet: m.Fleet, Beats: m.Beats, Events: m.Events, ProbeNamespace: probeNamespace,
		}).SetupWithManager(m.Manager)
		if err != nil {
			return err
		}
		return (&probe.Reconciler{Client: m.Manager.GetClient(), ProbeNamespace: probeNamespace}).SetupWithManager(m.Manager)
	})
	Expect(err).NotTo(HaveOccurred())
	return m
}

// newManaged makes a managed cluster that nobody knows yet.
func newManaged(ctx context.Context) *testenv.Managed {
	GinkgoHelper()
	n := serial.Add(1)
	c := &testenv.Managed{Name: fmt.Sprintf("edge-%d", n), UID: fmt.Sprintf("uid-%d", n), Namespace: fmt.Sprintf("probes-%d", n), Plane: plane}
	Expect(plane.CreateNamespace(ctx, c.Namespace)).To(Succeed())
	return c
}

// connected makes a managed cluster with a tunnel and a first heartbeat.
func connected(ctx context.Context) (*testenv.Managed, *testenv.Tunnel) {
	GinkgoHelper()
	c := newManaged(ctx)
	tunnel := connect(ctx, c)
	beat(ctx, c, heartbeat.Heartbeat{})
	Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.ProbeNamespace", c.Namespace))
	return c, tunnel
}

func connect(ctx context.Context, c *testenv.Managed) *testenv.Tunnel {
	GinkgoHelper()
	tunnel, err := c.Connect(context.WithoutCancel(ctx), master.URL)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(tunnel.Close)
	Eventually(master.Hub.Connected).WithArguments(c.Name).Should(BeTrue())
	return tunnel
}

func beat(ctx context.Context, c *testenv.Managed, b heartbeat.Heartbeat) {
	GinkgoHelper()
	code, text, err := c.Beat(ctx, master.URL, b)
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(Equal(http.StatusNoContent), text)
}

func get(ctx context.Context, name string) (*kubeproberv1.Cluster, error) {
	c := &kubeproberv1.Cluster{}
	err := plane.Client.Get(ctx, types.NamespacedName{Name: name}, c)
	return c, err
}

// condition reads a condition of a Cluster as "Status Reason".
func condition(ctx context.Context, name, kind string) (string, error) {
	return conditionOf(ctx, plane, name, kind)
}

func conditionOf(ctx context.Context, plane *testenv.Plane, name, kind string) (string, error) {
	c := &kubeproberv1.Cluster{}
	if err := plane.Client.Get(ctx, types.NamespacedName{Name: name}, c); err != nil {
		return "", err
	}
	found := meta.FindStatusCondition(c.Status.Conditions, kind)
	if found == nil {
		return "", nil
	}
	return string(found.Status) + " " + found.Reason, nil
}

func labelled(name, probe string) *kubeproberv1.Cluster {
	c := &kubeproberv1.Cluster{}
	c.Name, c.Labels = name, map[string]string{kubeproberv1.AttachLabel(probe): kubeproberv1.AttachLabelValue}
	return c
}

func attach(ctx context.Context, c *testenv.Managed, probe, value string) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, kubeproberv1.AttachLabel(probe), value)
	target := &kubeproberv1.Cluster{}
	target.Name = c.Name
	Expect(plane.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

func createProbe(ctx context.Context, name string) *kubeproberv1.Probe {
	GinkgoHelper()
	p := testenv.Probe(probeNamespace, name)
	Expect(plane.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { _ = plane.Client.Delete(ctx, p) })
	return p
}

// copyOf reads the Probe in the managed cluster; it has no name when there is none.
func copyOf(ctx context.Context, c *testenv.Managed, name string) (*kubeproberv1.Probe, error) {
	p := &kubeproberv1.Probe{}
	err := plane.Client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, p)
	return p, client.IgnoreNotFound(err)
}
