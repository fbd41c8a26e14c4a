// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Uninstall is about removing Kubeprober while probes are attached. It leaves clusters without it.
func Uninstall(input func() Input) {
	It("takes its probes out of the managed clusters when the master is undeployed, and leaves nothing", func(ctx SpecContext) {
		in := input()
		framework.Get(ctx, in.Managed, probe(namespace, "k8s"))
		Expect(in.Master.Undeploy(ctx, "probe-master")).To(Succeed())
		expectNothingLeft(ctx, in.Master)
		framework.AwaitGone(ctx, in.Managed, probe(namespace, "k8s"), soon)
	})

	It("leaves nothing when the agent is undeployed", func(ctx SpecContext) {
		in := input()
		Expect(in.Managed.Undeploy(ctx, "probe-agent")).To(Succeed())
		expectNothingLeft(ctx, in.Managed)
	})
}

func expectNothingLeft(ctx context.Context, c *framework.Cluster) {
	GinkgoHelper()
	Expect(c.Kubectl("get", "namespaces", "-o", "name").Succeed(ctx)).NotTo(ContainSubstring("kubeprober"))
	const kinds = "crds,clusterroles,clusterrolebindings,apiservices,validatingwebhookconfigurations,validatingadmissionpolicies"
	Expect(c.Kubectl("get", kinds, "-o", "name").Succeed(ctx)).NotTo(MatchRegexp("(?i)kubeprober|probe-"))
}
