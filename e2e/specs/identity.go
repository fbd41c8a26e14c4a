// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Identity is about who may be which cluster. It leaves the spare cluster registered under its own name.
func Identity(input func() Input) {
	It("refuses an agent with a wrong secret", func(ctx SpecContext) {
		in := input()
		startAgent(ctx, in, in.SpareName, "not-"+in.Secret)
		for _, deployment := range []string{"probe-tunnel", "probe-agent"} {
			awaitLog(ctx, in.Spare, deployment, "(?i)secret|401|unauthorized")
		}
		err := in.Master.Client.Get(ctx, client.ObjectKey{Name: in.SpareName}, cluster(in.SpareName))
		Expect(apierrors.IsNotFound(err)).To(BeTrue(), "no Cluster is made for an agent that was refused: %v", err)
	})

	It("refuses a second cluster with a name that is taken, and leaves the first one connected", func(ctx SpecContext) {
		in := input()
		before := framework.Get(ctx, in.Master, cluster(in.ManagedName))
		startAgent(ctx, in, in.ManagedName, in.Secret)
		Eventually(func(g Gomega) {
			g.Expect(events(ctx, in, "Cluster", in.ManagedName)).To(HaveKey(kubeproberv1.ClusterIdentityConflictReason))
		}).WithTimeout(aMinute).Should(Succeed())
		awaitLog(ctx, in.Spare, "probe-tunnel", `"status":403`)

		after := framework.Get(ctx, in.Master, cluster(in.ManagedName))
		Expect(after.Status.Identity).To(Equal(before.Status.Identity))
		Expect(since(after, kubeproberv1.ClusterConnectedCondition)).To(Equal(since(before, kubeproberv1.ClusterConnectedCondition)), "the first tunnel never broke")
		Expect(condition(after, kubeproberv1.ClusterConnectedCondition)).To(Equal(metav1.ConditionTrue))
		uid := in.Master.Kubectl("--server", in.gateway(in.ManagedName), "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").Succeed(ctx)
		Expect(uid).To(Equal(kubeSystemUID(ctx, in.Managed)), "the name still leads to the first cluster")
	})

	It("takes the second cluster under a name of its own", func(ctx SpecContext) {
		in := input()
		Expect(in.Spare.Deploy(ctx, "probe-agent", in.agentEdits(in.SpareName, in.Secret)...)).To(Succeed())
		restart(ctx, in.Spare, "probe-tunnel", "probe-agent")
		c := connected(ctx, in, in.SpareName)
		Expect(c.Status.Identity.UID).To(Equal(kubeSystemUID(ctx, in.Spare)))
	})
}

// Deletion is about a Cluster that is deleted on the master while its agent runs.
func Deletion(input func() Input) {
	It("removes the probes from the managed cluster, and the agent registers anew without any", func(ctx SpecContext) {
		in := input()
		const name = "left-behind"
		apply(ctx, in.Master, in.scriptProbe(name, "{runInterval: 30}", passScript))
		DeferCleanup(func(ctx SpecContext) {
			in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "--timeout=60s").Succeed(ctx)
		})
		attach(ctx, in, in.SpareName, name)
		old := framework.Await(ctx, in.Master, cluster(in.SpareName), aMinute, "has the result", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, name)
			return s != nil && s.Status == kubeproberv1.CheckerPass
		})
		// A Probe that somebody made there is none of the master's business.
		apply(ctx, in.Spare, in.localProbe("local", "{state: Suspended}", passScript))
		DeferCleanup(func(ctx SpecContext) {
			in.Spare.Kubectl("delete", "probe.kubeprober.erda.cloud", "local", "-n", namespace).Succeed(ctx)
		})

		in.Master.Kubectl("delete", "cluster", in.SpareName, "--timeout=60s").Succeed(ctx)
		framework.AwaitGone(ctx, in.Spare, probe(namespace, name), soon)
		c := framework.Await(ctx, in.Master, cluster(in.SpareName), aMinute, "registered anew", func(c *kubeproberv1.Cluster) bool {
			return c.UID != old.UID && condition(c, kubeproberv1.ClusterConnectedCondition) == metav1.ConditionTrue && c.Status.HeartbeatTime != nil
		})
		Expect(c.Labels).NotTo(HaveKey(kubeproberv1.AttachLabel(name)))
		Expect(c.Status.AttachedProbes).To(BeEmpty())
		Expect(c.Status.Identity.UID).To(Equal(kubeSystemUID(ctx, in.Spare)))
		framework.Get(ctx, in.Spare, probe(namespace, "local"))
	})
}

// startAgent deploys an agent in the spare cluster that need not come up.
func startAgent(ctx context.Context, in Input, name, secret string) {
	GinkgoHelper()
	manifest, err := in.Spare.Manifest("probe-agent", in.agentEdits(name, secret)...)
	Expect(err).NotTo(HaveOccurred())
	in.Spare.Kubectl("apply", "-f", manifest).Succeed(ctx)
	in.Spare.Kubectl("-n", namespace, "rollout", "restart", "deployment").Succeed(ctx)
	in.Spare.Kubectl("-n", namespace, "wait", "--for=jsonpath={.status.updatedReplicas}=1", "--timeout=60s",
		"deployment/probe-agent", "deployment/probe-tunnel").Succeed(ctx)
}

// restart restarts deployments and waits until the new pods are up.
func restart(ctx context.Context, c *framework.Cluster, deployments ...string) {
	GinkgoHelper()
	for _, name := range deployments {
		c.Kubectl("-n", namespace, "rollout", "restart", "deployment/"+name).Succeed(ctx)
	}
	for _, name := range deployments {
		c.Kubectl("-n", namespace, "rollout", "status", "--timeout=120s", "deployment/"+name).Succeed(ctx)
	}
}

// awaitLog waits until a deployment's log has a line that matches.
func awaitLog(ctx context.Context, c *framework.Cluster, deployment, pattern string) {
	GinkgoHelper()
	Eventually(func() string {
		result := c.Kubectl("-n", namespace, "logs", "--prefix", "-l", "app.kubernetes.io/name="+deployment, "--tail=200").Run(ctx)
		return result.Stdout
	}).WithTimeout(aMinute).WithPolling(time.Second).Should(MatchRegexp(pattern))
}

func since(c *kubeproberv1.Cluster, name string) metav1.Time {
	if found := meta.FindStatusCondition(c.Status.Conditions, name); found != nil {
		return found.LastTransitionTime
	}
	return metav1.Time{}
}
