// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// DeleteProbes is about what is left of a Probe that somebody deletes: nothing.
func DeleteProbes(input func() Input) {
	It("leaves no Job, pod or ProbeStatus of a Probe that is deleted after a run", func(ctx SpecContext) {
		in := input()
		const name = "short-lived"
		create(ctx, in.Managed, in.local(name, passScript))
		awaitRuns(ctx, in.Managed, name, 1, aMinute)
		Expect(jobsOf(ctx, in.Managed, name)).To(HaveLen(1))
		expectDeletedWhole(ctx, in, name)
	})

	It("leaves nothing of a Probe that is deleted while it runs", func(ctx SpecContext) {
		in := input()
		const name = "cut-short"
		create(ctx, in.Managed, in.local(name, hold, onEveryNode))
		awaitPod(ctx, in.Managed, name)
		Expect(jobsOf(ctx, in.Managed, name)).To(HaveLen(2))
		expectDeletedWhole(ctx, in, name)
	})
}

// expectDeletedWhole deletes a Probe as a user does, and expects that all that it has made goes with it.
func expectDeletedWhole(ctx SpecContext, in Input, name string) {
	GinkgoHelper()
	in.Managed.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "-n", namespace).Succeed(ctx)
	framework.AwaitGone(ctx, in.Managed, probeStatus(name), soon)
	Eventually(func(g Gomega) {
		g.Expect(jobsOf(ctx, in.Managed, name)).To(BeEmpty())
		g.Expect(podsOf(ctx, in.Managed, name)).To(BeEmpty())
	}).WithContext(ctx).WithTimeout(soon).WithPolling(500 * time.Millisecond).Should(Succeed())
}
