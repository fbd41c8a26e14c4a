// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

const (
	tunnelUp  = kubeproberv1.ClusterConnectedCondition
	synced    = kubeproberv1.ClusterProbesSyncedCondition
	readiness = kubeproberv1.ClusterReadyCondition
)

var notFound = MatchError(apierrors.IsNotFound, "IsNotFound")

func eventsOf(ctx context.Context, name, reason string) ([]string, error) {
	list := &eventsv1.EventList{}
	if err := plane.Client.List(ctx, list); err != nil {
		return nil, err
	}
	var notes []string
	for _, event := range list.Items {
		if event.Regarding.Name == name && event.Reason == reason {
			notes = append(notes, event.Note)
		}
	}
	return notes, nil
}

func result(name string, status kubeproberv1.CheckerStatus, total, failed int32) kubeproberv1.ClusterProbeStatus {
	return kubeproberv1.ClusterProbeStatus{Name: name, Status: status, Total: total, Error: failed, Message: "said so"}
}

var _ = Describe("first contact", func() {
	It("creates the Cluster at the first heartbeat and shows what it tells", func(ctx SpecContext) {
		c := newManaged(ctx)
		beat(ctx, c, heartbeat.Heartbeat{
			K8sVersion: "v1.37.1", AgentVersion: "v0.1.5", NodeCount: 3, ExtraStatus: map[string]string{"zone": "a\x1b[31m"},
		})
		Eventually(get).WithArguments(ctx, c.Name).WithTimeout(2 * time.Second).Should(SatisfyAll(
			HaveField("Status.K8sVersion", "v1.37.1"),
			HaveField("Status.AgentVersion", "v0.1.5"),
			HaveField("Status.NodeCount", int32(3)),
			HaveField("Status.ProbeNamespace", c.Namespace),
			HaveField("Status.Identity.UID", c.UID),
			HaveField("Status.HeartbeatTime", Not(BeNil())),
			HaveField("Status.ExtraStatus", HaveKeyWithValue("zone", Not(ContainSubstring("\x1b")))),
		))
		Eventually(condition).WithArguments(ctx, c.Name, tunnelUp).Should(Equal("False TunnelDown"))
		Expect(condition(ctx, c.Name, readiness)).To(Equal("Unknown Disconnected"))
	})

	It("creates the Cluster at the first tunnel and waits for the agent", func(ctx SpecContext) {
		c := newManaged(ctx)
		connect(ctx, c)
		Eventually(condition).WithArguments(ctx, c.Name, tunnelUp).Should(Equal("True TunnelUp"))
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("Unknown AwaitingHeartbeat"))
		Expect(condition(ctx, c.Name, readiness)).To(Equal("Unknown AwaitingHeartbeat"))
		beat(ctx, c, heartbeat.Heartbeat{})
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("True NoProbesAttached"))
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("True Synced"))
	})

	It("binds a Cluster that was made by hand, with its labels", func(ctx SpecContext) {
		c := newManaged(ctx)
		createProbe(ctx, "byhand")
		byHand := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: map[string]string{"probe/byhand": "true"}}}
		Expect(plane.Client.Create(ctx, byHand)).To(Succeed())
		connect(ctx, c)
		beat(ctx, c, heartbeat.Heartbeat{})
		Eventually(copyOf).WithArguments(ctx, c, "byhand").Should(HaveField("Labels", HaveKeyWithValue(kubeproberv1.ManagedByLabel, kubeproberv1.ManagedByMaster)))
		Expect(get(ctx, c.Name)).To(HaveField("Status.Identity.UID", c.UID))
	})

	It("refuses another cluster of the same name and tells it once", func(ctx SpecContext) {
		c, _ := connected(ctx)
		intruder := &testenv.Managed{Name: c.Name, UID: "somebody-else", Namespace: "elsewhere", Plane: plane}
		for range 3 {
			code, text, err := intruder.Beat(ctx, master.URL, heartbeat.Heartbeat{NodeCount: 99})
			Expect(err).NotTo(HaveOccurred())
			Expect(code).To(Equal(http.StatusForbidden))
			Expect(text).To(And(ContainSubstring("bound to another cluster"), Not(ContainSubstring(c.UID))))
		}
		Eventually(eventsOf).WithArguments(ctx, c.Name, kubeproberv1.ClusterIdentityConflictReason).Should(ConsistOf(ContainSubstring("somebody-else")))
		Consistently(eventsOf).WithArguments(ctx, c.Name, kubeproberv1.ClusterIdentityConflictReason).Should(HaveLen(1))
		Expect(get(ctx, c.Name)).To(And(HaveField("Status.NodeCount", int32(0)), HaveField("Status.ProbeNamespace", c.Namespace)))
	})

	It("lets exactly one of the clusters in that race for a name", func(ctx SpecContext) {
		codes := make([]int, 8)
		var group sync.WaitGroup
		for i := range codes {
			group.Go(func() {
				defer GinkgoRecover()
				racer := &testenv.Managed{Name: "contested", UID: fmt.Sprintf("racer-%d", i), Namespace: "default", Plane: plane}
				code, _, err := racer.Beat(ctx, master.URL, heartbeat.Heartbeat{})
				Expect(err).NotTo(HaveOccurred())
				codes[i] = code
			})
		}
		group.Wait()
		winners := 0
		for i, code := range codes {
			if code == http.StatusNoContent {
				winners++
				Expect(get(ctx, "contested")).To(HaveField("Status.Identity.UID", fmt.Sprintf("racer-%d", i)))
			} else {
				Expect(code).To(Equal(http.StatusForbidden))
			}
		}
		Expect(winners).To(Equal(1))
	})

	DescribeTable("refuses heartbeats that are not right",
		func(ctx SpecContext, secret, body string, want int, text string) {
			c := newManaged(ctx)
			code, said, err := c.Post(ctx, master.URL, secret, []byte(body))
			Expect(err).NotTo(HaveOccurred())
			Expect(code).To(Equal(want), said)
			Expect(said).To(ContainSubstring(text))
		},
		Entry("a wrong secret", "wrong", `{"probeNamespace":"x"}`, http.StatusUnauthorized, ""),
		Entry("no JSON", testenv.Secret, `{`, http.StatusBadRequest, "parsing heartbeat"),
		Entry("a namespace that is a path", testenv.Secret, `{"probeNamespace":"../../x"}`, http.StatusBadRequest, "probeNamespace"),
		Entry("too much", testenv.Secret, `{"probeNamespace":"x","k8sVersion":"`+strings.Repeat("v", heartbeat.MaxBytes)+`"}`, http.StatusRequestEntityTooLarge, "larger than"),
	)
})

var _ = Describe("attached probes", func() {
	It("are copied, judged, changed and removed", func(ctx SpecContext) {
		c, _ := connected(ctx)
		original := createProbe(ctx, "lifecycle")
		attach(ctx, c, "lifecycle", `"true"`)
		Eventually(copyOf).WithArguments(ctx, c, "lifecycle").Should(HaveField("Spec.Template.Containers", HaveLen(1)))
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("Unknown AwaitingResults"))
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", ConsistOf("lifecycle")))

		By("showing results within two seconds")
		beat(ctx, c, heartbeat.Heartbeat{Probes: []kubeproberv1.ClusterProbeStatus{result("lifecycle", kubeproberv1.CheckerPass, 4, 0)}})
		Eventually(condition).WithArguments(ctx, c.Name, readiness).WithTimeout(2 * time.Second).Should(Equal("True CheckersPass"))
		beat(ctx, c, heartbeat.Heartbeat{Probes: []kubeproberv1.ClusterProbeStatus{result("lifecycle", kubeproberv1.CheckerError, 4, 1)}})
		Eventually(condition).WithArguments(ctx, c.Name, readiness).WithTimeout(2 * time.Second).Should(Equal("False CheckersFail"))
		Expect(get(ctx, c.Name)).To(HaveField("Status.Checkers", "4/1"))

		By("passing a change on")
		change := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec/template/containers/0/image","value":"example.com/checker:v2"}]`))
		Expect(plane.Client.Patch(ctx, original, change)).To(Succeed())
		Eventually(func() (string, error) {
			p, err := copyOf(ctx, c, "lifecycle")
			return p.Spec.Template.Containers[0].Image, err
		}).Should(Equal("example.com/checker:v2"))

		By("counting the clusters and holding the Probe")
		Eventually(func() (*kubeproberv1.Probe, error) {
			p := &kubeproberv1.Probe{}
			err := plane.Client.Get(ctx, types.NamespacedName{Namespace: probeNamespace, Name: "lifecycle"}, p)
			return p, err
		}).Should(And(HaveField("Status.AttachedClusters", HaveValue(Equal(int32(1)))), HaveField("Finalizers", ContainElement(kubeproberv1.AttachedFinalizer))))

		By("detaching it")
		attach(ctx, c, "lifecycle", "null")
		Eventually(copyOf).WithArguments(ctx, c, "lifecycle").Should(notFoundCopy())
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", BeEmpty()))
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("True NoProbesAttached"))
	})

	It("that do not exist are told, and work as soon as they do", func(ctx SpecContext) {
		c, _ := connected(ctx)
		attach(ctx, c, "later", `"true"`)
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("False ProbeNotFound"))
		Eventually(eventsOf).WithArguments(ctx, c.Name, kubeproberv1.ClusterProbeNotFoundReason).Should(ContainElement(ContainSubstring("later")))
		createProbe(ctx, "later")
		Eventually(copyOf).WithArguments(ctx, c, "later").Should(HaveField("Name", "later"))
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("True Synced"))
	})

	It("leave the managed cluster's own probes alone", func(ctx SpecContext) {
		c, _ := connected(ctx)
		own := testenv.Probe(c.Namespace, "own")
		own.Spec.Template.Containers[0].Image = "example.com/own:v1"
		Expect(plane.Client.Create(ctx, own)).To(Succeed())
		createProbe(ctx, "own")
		createProbe(ctx, "other")
		attach(ctx, c, "own", `"true"`)
		attach(ctx, c, "other", `"true"`)
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("False ProbeConflict"))
		Eventually(copyOf).WithArguments(ctx, c, "other").Should(HaveField("Name", "other"))
		attach(ctx, c, "own", "null")
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("True Synced"))
		Expect(copyOf(ctx, c, "own")).To(HaveField("Spec.Template.Containers", ContainElement(HaveField("Image", "example.com/own:v1"))))
	})

	It("are verified anew when the cluster was away", func(ctx SpecContext) {
		c, tunnel := connected(ctx)
		createProbe(ctx, "verified")
		attach(ctx, c, "verified", `"true"`)
		Eventually(copyOf).WithArguments(ctx, c, "verified").Should(HaveField("Name", "verified"))
		Expect(tunnel.Close()).To(Succeed())
		Eventually(condition).WithArguments(ctx, c.Name, tunnelUp).Should(Equal("False TunnelDown"))
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("Unknown Disconnected"))
		held, err := copyOf(ctx, c, "verified")
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, held)).To(Succeed())
		connect(ctx, c)
		Eventually(copyOf).WithArguments(ctx, c, "verified").Should(HaveField("Name", "verified"))
	})

	It("are left out of what Ready judges while they are suspended", func(ctx SpecContext) {
		c, _ := connected(ctx)
		p := createProbe(ctx, "resting")
		createProbe(ctx, "working")
		attach(ctx, c, "resting", `"true"`)
		attach(ctx, c, "working", `"true"`)
		stale := result("resting", kubeproberv1.CheckerPass, 3, 0)
		stale.StaleTime = &metav1.Time{Time: time.Now().Add(-time.Minute)}
		beat(ctx, c, heartbeat.Heartbeat{Probes: []kubeproberv1.ClusterProbeStatus{stale, result("working", kubeproberv1.CheckerPass, 2, 0)}})
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("Unknown ResultsStale"))
		before := p.DeepCopy()
		p.Spec.Policy.State = kubeproberv1.ProbeSuspended
		Expect(plane.Client.Patch(ctx, p, client.MergeFrom(before))).To(Succeed())
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("True CheckersPass"))
		Expect(get(ctx, c.Name)).To(And(HaveField("Status.Checkers", "2/0"), HaveField("Status.Probes", HaveLen(2))))
	})

	It("are restored when they are deleted in the managed cluster", func(ctx SpecContext) {
		c, _ := connected(ctx)
		createProbe(ctx, "restored")
		attach(ctx, c, "restored", `"true"`)
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", ConsistOf("restored")))
		beat(ctx, c, heartbeat.Heartbeat{Probes: []kubeproberv1.ClusterProbeStatus{result("restored", kubeproberv1.CheckerPass, 1, 0)}})
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("True CheckersPass"))
		held, err := copyOf(ctx, c, "restored")
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, held)).To(Succeed())
		beat(ctx, c, heartbeat.Heartbeat{})
		Eventually(copyOf).WithArguments(ctx, c, "restored").Should(HaveField("Name", "restored"))
	})

	It("are removed from clusters before a deleted Probe goes", func(ctx SpecContext) {
		c, _ := connected(ctx)
		p := createProbe(ctx, "doomed")
		attach(ctx, c, "doomed", `"true"`)
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", ConsistOf("doomed")))
		Eventually(func() ([]string, error) {
			err := plane.Client.Get(ctx, types.NamespacedName{Namespace: probeNamespace, Name: "doomed"}, p)
			return p.Finalizers, err
		}).Should(ContainElement(kubeproberv1.AttachedFinalizer))
		Expect(plane.Client.Delete(ctx, p)).To(Succeed())
		Eventually(copyOf).WithArguments(ctx, c, "doomed").Should(notFoundCopy())
		Eventually(func() error {
			return plane.Client.Get(ctx, types.NamespacedName{Namespace: probeNamespace, Name: "doomed"}, p)
		}).Should(notFound)
		Eventually(condition).WithArguments(ctx, c.Name, synced).Should(Equal("False ProbeNotFound"))
	})
})

var _ = Describe("a deleted Probe", func() {
	It("does not wait for a cluster that is away, which loses its copy when it is back", func(ctx SpecContext) {
		c, tunnel := connected(ctx)
		p := createProbe(ctx, "stranded")
		attach(ctx, c, "stranded", `"true"`)
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", ConsistOf("stranded")))
		Eventually(func() ([]string, error) {
			err := plane.Client.Get(ctx, client.ObjectKeyFromObject(p), p)
			return p.Finalizers, err
		}).Should(ContainElement(kubeproberv1.AttachedFinalizer))
		Expect(tunnel.Close()).To(Succeed())
		Eventually(condition).WithArguments(ctx, c.Name, tunnelUp).Should(Equal("False TunnelDown"))
		Expect(plane.Client.Delete(ctx, p)).To(Succeed())
		Eventually(func() error { return plane.Client.Get(ctx, client.ObjectKeyFromObject(p), p) }).Should(notFound)
		Expect(copyOf(ctx, c, "stranded")).To(HaveField("Name", "stranded"))
		connect(ctx, c)
		Eventually(copyOf).WithArguments(ctx, c, "stranded").Should(notFoundCopy())
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", BeEmpty()))
	})
})

// notFoundCopy matches the results of copyOf when there is none.
func notFoundCopy() OmegaMatcher {
	return WithTransform(func(p *kubeproberv1.Probe) string { return p.Name }, BeEmpty())
}

var _ = Describe("a Cluster", func() {
	It("has its extraInfo in the managed cluster, as long as it has any", func(ctx SpecContext) {
		c, _ := connected(ctx)
		setExtra := func(spec string) {
			cluster := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: c.Name}}
			Expect(plane.Client.Patch(ctx, cluster, client.RawPatch(types.MergePatchType, []byte(spec)))).To(Succeed())
		}
		setExtra(`{"spec":{"extraInfo":[{"name":"REGION","value":"north"}]}}`)
		config := &corev1.ConfigMap{}
		key := types.NamespacedName{Namespace: c.Namespace, Name: kubeproberv1.ExtraConfigName}
		Eventually(func() (map[string]string, error) {
			err := plane.Client.Get(ctx, key, config)
			return config.Data, client.IgnoreNotFound(err)
		}).Should(BeEquivalentTo(map[string]string{"REGION": "north"}))
		setExtra(`{"spec":{"extraInfo":null}}`)
		Eventually(func() error { return plane.Client.Get(ctx, key, &corev1.ConfigMap{}) }).Should(notFound)
	})

	It("is cleaned up when it is deleted, and registers anew without probes", func(ctx SpecContext) {
		c, _ := connected(ctx)
		createProbe(ctx, "cleaned")
		attach(ctx, c, "cleaned", `"true"`)
		Eventually(copyOf).WithArguments(ctx, c, "cleaned").Should(HaveField("Name", "cleaned"))
		before, err := get(ctx, c.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, before)).To(Succeed())
		Eventually(copyOf).WithArguments(ctx, c, "cleaned").Should(notFoundCopy())
		// The tunnel agent still runs and comes back by itself.
		Eventually(get).WithArguments(ctx, c.Name).WithTimeout(20 * time.Second).Should(And(
			HaveField("UID", Not(Equal(before.UID))), HaveField("Labels", BeEmpty()), HaveField("Status.Identity.UID", c.UID)))
	})

	It("waits for its managed cluster when it is deleted while that is away", func(ctx SpecContext) {
		c, tunnel := connected(ctx)
		createProbe(ctx, "patient")
		attach(ctx, c, "patient", `"true"`)
		Eventually(copyOf).WithArguments(ctx, c, "patient").Should(HaveField("Name", "patient"))
		Expect(tunnel.Close()).To(Succeed())
		Eventually(condition).WithArguments(ctx, c.Name, tunnelUp).Should(Equal("False TunnelDown"))
		cluster, err := get(ctx, c.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, cluster)).To(Succeed())
		Consistently(get).WithArguments(ctx, c.Name).Should(HaveField("Finalizers", ContainElement(kubeproberv1.ClusterFinalizer)))
		intruder := &testenv.Managed{Name: c.Name, UID: "latecomer", Namespace: "default", Plane: plane}
		code, text, err := intruder.Beat(ctx, master.URL, heartbeat.Heartbeat{})
		Expect(err).NotTo(HaveOccurred())
		Expect(code).To(Equal(http.StatusForbidden))
		Expect(text).To(ContainSubstring("is being deleted"))
		again, err := c.Connect(context.WithoutCancel(ctx), master.URL)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(again.Close)
		Eventually(copyOf).WithArguments(ctx, c, "patient").Should(notFoundCopy())
	})

	It("keeps what it shows when the master restarts", Serial, func(ctx SpecContext) {
		c := newManaged(ctx)
		connect(ctx, c)
		createProbe(ctx, "kept")
		beat(ctx, c, heartbeat.Heartbeat{K8sVersion: "v1.37.1", Probes: []kubeproberv1.ClusterProbeStatus{result("kept", kubeproberv1.CheckerPass, 2, 0)}})
		attach(ctx, c, "kept", `"true"`)
		Eventually(condition).WithArguments(ctx, c.Name, readiness).Should(Equal("True CheckersPass"))
		Eventually(get).WithArguments(ctx, c.Name).Should(HaveField("Status.AttachedProbes", ConsistOf("kept")))
		before, err := get(ctx, c.Name)
		Expect(err).NotTo(HaveOccurred())

		restarted := startMaster(ctx)
		DeferCleanup(func(ctx SpecContext) { Expect(restarted.Stop(ctx)).To(Succeed()) })
		// The other master still writes: what counts is that the new one does not undo it without tunnel and heartbeat.
		Consistently(func() ([]metav1.Condition, error) {
			after, err := get(ctx, c.Name)
			return after.Status.Conditions, err
		}).WithTimeout(2 * time.Second).Should(BeComparableTo(before.Status.Conditions))
		Expect(get(ctx, c.Name)).To(And(HaveField("Status.K8sVersion", "v1.37.1"), HaveField("Status.Checkers", "2/0"), HaveField("Status.Probes", HaveLen(1))))
		Expect(meta.IsStatusConditionTrue(before.Status.Conditions, tunnelUp)).To(BeTrue())
	})
})
