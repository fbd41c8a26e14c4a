// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

const passScript = `report-status --name=alive --status=pass --message="the checker ran"`

// Attachment is about the labels that attach probes to clusters.
func Attachment(input func() Input) {
	It("detaches by label: the probe and its results leave the managed cluster and the master's picture", func(ctx SpecContext) {
		in := input()
		const name = "detached"
		apply(ctx, in.Master, in.scriptProbe(name, "{}", passScript))
		DeferCleanup(func(ctx SpecContext) {
			in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "--ignore-not-found").Succeed(ctx)
		})
		attach(ctx, in, in.ManagedName, name)
		framework.Await(ctx, in.Master, cluster(in.ManagedName), aMinute, "has the result", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, name)
			return s != nil && s.Status == kubeproberv1.CheckerPass
		})
		framework.Get(ctx, in.Managed, probe(namespace, name))

		detach(ctx, in, in.ManagedName, name)
		framework.AwaitGone(ctx, in.Managed, probe(namespace, name), soon)
		framework.AwaitGone(ctx, in.Managed, probeStatus(name), soon)
		c := framework.Await(ctx, in.Master, cluster(in.ManagedName), soon, "has let go of the probe", func(c *kubeproberv1.Cluster) bool {
			return summary(c, name) == nil && condition(c, kubeproberv1.ClusterProbesSyncedCondition) == metav1.ConditionTrue
		})
		Expect(c.Status.AttachedProbes).NotTo(ContainElement(name))
		in.Managed.Kubectl("wait", "--for=delete", "--timeout=30s", "-n", namespace, "jobs,pods", "-l", kubeproberv1.ProbeLabel+"="+name).Succeed(ctx)
	})

	It("says that a label names no probe, and attaches it as soon as the probe exists", func(ctx SpecContext) {
		in := input()
		const name = "announced"
		attach(ctx, in, in.ManagedName, name)
		DeferCleanup(func(ctx SpecContext) {
			detach(ctx, in, in.ManagedName, name)
			in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "--ignore-not-found").Succeed(ctx)
		})
		c := framework.Await(ctx, in.Master, cluster(in.ManagedName), soon, "ProbesSynced is False", func(c *kubeproberv1.Cluster) bool {
			return condition(c, kubeproberv1.ClusterProbesSyncedCondition) == metav1.ConditionFalse
		})
		Expect(reason(c, kubeproberv1.ClusterProbesSyncedCondition)).To(Equal(kubeproberv1.ClusterProbeNotFoundReason))
		Eventually(func(g Gomega) {
			g.Expect(events(ctx, in, "Cluster", in.ManagedName)).To(HaveKeyWithValue(kubeproberv1.ClusterProbeNotFoundReason, ContainSubstring(name)))
		}).WithTimeout(soon).Should(Succeed())
		Expect(c.Status.AttachedProbes).To(ContainElement("k8s"), "the other probes are left alone")

		apply(ctx, in.Master, in.scriptProbe(name, "{}", passScript))
		framework.Await(ctx, in.Master, cluster(in.ManagedName), aMinute, "has the result of the probe", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, name)
			return s != nil && s.Status == kubeproberv1.CheckerPass &&
				condition(c, kubeproberv1.ClusterProbesSyncedCondition) == metav1.ConditionTrue
		})
	})

	It("follows a change of an attached probe", func(ctx SpecContext) {
		in := input()
		const name = "changed"
		attachForSpec(ctx, in, in.ManagedName, name, in.scriptProbe(name, "{}", passScript))
		framework.Await(ctx, in.Managed, probeStatus(name), aMinute, "has run", func(p *kubeproberv1.ProbeStatus) bool {
			return p.Status.Status == kubeproberv1.CheckerPass
		})
		apply(ctx, in.Master, in.scriptProbe(name, "{}", `report-status --name=alive --status=warn --message="second edition"`))
		framework.Await(ctx, in.Master, cluster(in.ManagedName), aMinute, "has the result of the new generation", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, name)
			return s != nil && s.Status == kubeproberv1.CheckerWarn && s.Message == "alive: second edition"
		})
	})

	It("refuses to delete an attached probe, and names the clusters", func(ctx SpecContext) {
		in := input()
		said := in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", "k8s", "-n", probeNamespace).Fail(ctx)
		Expect(said).To(ContainSubstring(in.ManagedName))
		Expect(said).To(ContainSubstring("probe/k8s"), "it says which label holds the probe")
		Expect(framework.Get(ctx, in.Master, probe(probeNamespace, "k8s")).DeletionTimestamp).To(BeNil())
	})
}
