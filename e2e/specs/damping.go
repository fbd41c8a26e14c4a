// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Damping is about what is published of a checker over several runs.
func Damping(input func() Input) {
	It("publishes WARN with the count until the threshold, then ERROR, and PASS at once", func(ctx SpecContext) {
		in := input()
		const name = "flapping"
		p := in.local(name, `report-status --name=disk --status="${VERDICT:-error}" --message="the disk says ${VERDICT:-error}"`,
			func(p *kubeproberv1.Probe) { p.Spec.Policy.FailureThreshold = ptr.To[int32](3) })
		create(ctx, in.Managed, p)
		deleteLater(in.Managed, p)
		for round, want := range []struct {
			verdict   string
			published kubeproberv1.CheckerStatus
			message   string
			ofRun     kubeproberv1.CheckerStatus
		}{
			{"", kubeproberv1.CheckerWarn, "1 of 3 errors in a row: the disk says error", kubeproberv1.CheckerError},
			{"error", kubeproberv1.CheckerWarn, "2 of 3 errors in a row: the disk says error", kubeproberv1.CheckerError},
			{"error", kubeproberv1.CheckerError, "the disk says error", kubeproberv1.CheckerError},
			{"pass", kubeproberv1.CheckerPass, "the disk says pass", kubeproberv1.CheckerPass},
			{"error", kubeproberv1.CheckerWarn, "1 of 3 errors in a row: the disk says error", kubeproberv1.CheckerError},
		} {
			if round > 0 {
				runAgain(ctx, in.Managed, name, want.verdict)
			}
			outcome := awaitRuns(ctx, in.Managed, name, round+1, aMinute)
			Expect(outcome.Status).To(Equal(want.published))
			Expect(outcome.Checkers).To(HaveLen(1))
			Expect(outcome.Checkers[0].Status).To(Equal(want.published))
			Expect(outcome.Checkers[0].Message).To(Equal(want.message))
			Expect(outcome.History[0].Status).To(Equal(want.ofRun), "the history holds what the run itself said")
		}
	})

	It("drops a checker that is no longer reported, and says so in the history", func(ctx SpecContext) {
		in := input()
		const name = "shrinking"
		p := in.local(name, `report-status --name=stays --status=pass --message=here
[[ -n ${VERDICT:-} ]] || report-status --name=goes --status=pass --message="here, still"`)
		create(ctx, in.Managed, p)
		deleteLater(in.Managed, p)
		Expect(verdicts(awaitRuns(ctx, in.Managed, name, 1, aMinute))).To(Equal([]string{"goes=PASS", "stays=PASS"}))

		runAgain(ctx, in.Managed, name, "gone")
		outcome := awaitRuns(ctx, in.Managed, name, 2, aMinute)
		Expect(verdicts(outcome)).To(Equal([]string{"stays=PASS"}))
		Expect(outcome.History[0].Total).To(BeEquivalentTo(1))
		Expect(outcome.History[0].Message).To(MatchRegexp("no longer reported: goes"))
		Expect(outcome.History[1].Total).To(BeEquivalentTo(2))
	})
}
