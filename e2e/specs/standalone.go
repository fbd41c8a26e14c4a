// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Standalone is about an agent without a master, in the spare cluster. It leaves the cluster empty.
func Standalone(input func() Input) {
	It("schedules and records without a master, and kubectl probe status reads it", func(ctx SpecContext) {
		in := input()
		Expect(in.Spare.Deploy(ctx, "probe-agent-standalone")).To(Succeed())
		apply(ctx, in.Spare, in.localProbe("alone", "{runInterval: 30}", passScript))
		framework.Await(ctx, in.Spare, probeStatus("alone"), aMinute, "has passed", func(p *kubeproberv1.ProbeStatus) bool {
			return p.Status.Status == kubeproberv1.CheckerPass
		})
		table := framework.ParseTable(in.Spare.Kubectl("probe", "status").Succeed(ctx))
		Expect(table.Header).To(Equal(resultColumns))
		row := table.Row("PROBER", "alone")
		Expect(row).To(HaveKeyWithValue("CHECKER", "alive"))
		Expect(row).To(HaveKeyWithValue("STATUS", "PASS"))
		Expect(row).To(HaveKeyWithValue("MESSAGE", "the checker ran"))
	})

	It("leaves nothing behind when it is undeployed", func(ctx SpecContext) {
		in := input()
		Expect(in.Spare.Undeploy(ctx, "probe-agent-standalone")).To(Succeed())
		expectNothingLeft(ctx, in.Spare)
	})
}
