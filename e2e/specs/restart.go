// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// slowScript takes long enough for a restart of anything while it runs.
const slowScript = "sleep 20\nreport-status --name=patient --status=pass --message=\"the run outlived the restart\""

// Restart is about the master and the agent being restarted: nothing is lost, and a run in progress ends well.
func Restart(input func() Input) {
	const name = "slow"
	Context("of what carries a run", Ordered, func() {
		BeforeAll(func(ctx SpecContext) {
			in := input()
			apply(ctx, in.Master, in.scriptProbe(name, "{timeoutSeconds: 120}", slowScript))
			attach(ctx, in, in.ManagedName, name)
			framework.Await(ctx, in.Master, cluster(in.ManagedName), 2*aMinute, "is Ready with the slow probe", func(c *kubeproberv1.Cluster) bool {
				return summary(c, name) != nil && summary(c, name).Status == kubeproberv1.CheckerPass &&
					condition(c, kubeproberv1.ClusterReadyCondition) == metav1.ConditionTrue
			})
		})
		AfterAll(func(ctx SpecContext) {
			in := input()
			detach(ctx, in, in.ManagedName, name)
			in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "--timeout=60s").Succeed(ctx)
		})
		restarts(input, name)
	})
}

func restarts(input func() Input, name string) {
	for _, role := range []struct {
		name        string
		deployments []string
		cluster     func(Input) *framework.Cluster
	}{
		{"master", []string{"probe-master"}, func(in Input) *framework.Cluster { return in.Master }},
		{"agent", []string{"probe-agent"}, func(in Input) *framework.Cluster { return in.Managed }},
		{"tunnel", []string{"probe-tunnel"}, func(in Input) *framework.Cluster { return in.Managed }},
	} {
		It("loses nothing when the "+role.name+" is restarted during a run", func(ctx SpecContext) {
			in := input()
			results, runs := published(ctx, in), finishedRuns(ctx, in)
			Expect(results).NotTo(BeEmpty())
			Expect(runs).NotTo(BeEmpty())

			once := in.Master.Kubectl("probe", "once", "-c", in.ManagedName, "-p", name).Start(ctx)
			framework.Await(ctx, in.Managed, anyRun(), soon, "runs", func(r *kubeproberv1.ProbeRun) bool {
				return len(r.Spec.Probes) == 1 && r.Spec.Probes[0].Name == name && r.Status.Phase == kubeproberv1.RunRunning
			})
			restart(ctx, role.cluster(in), role.deployments...)

			Eventually(once).WithTimeout(2 * aMinute).Should(gexec.Exit(0))
			row := framework.ParseTable(string(once.Out.Contents())).Row("CHECKER", "patient")
			Expect(row).To(HaveKeyWithValue("STATUS", "PASS"))

			framework.Await(ctx, in.Master, cluster(in.ManagedName), aMinute, "connected and Ready again", func(c *kubeproberv1.Cluster) bool {
				return condition(c, kubeproberv1.ClusterConnectedCondition) == metav1.ConditionTrue &&
					condition(c, kubeproberv1.ClusterReadyCondition) == metav1.ConditionTrue
			})
			Expect(published(ctx, in)).To(Equal(results))
			after := finishedRuns(ctx, in)
			for id, outcome := range runs {
				Expect(after).To(HaveKeyWithValue(id, outcome))
			}
			Expect(after).To(HaveLen(len(runs)+1), "the run that was in progress is kept once")
		})
	}
}

// anyRun stands for all ProbeRuns of the managed cluster.
func anyRun() *kubeproberv1.ProbeRun {
	return &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
}

// published is what the master says of the scheduled probes of the managed cluster.
func published(ctx context.Context, in Input) []kubeproberv1.ClusterProbeStatus {
	GinkgoHelper()
	return framework.Get(ctx, in.Master, cluster(in.ManagedName)).Status.Probes
}

// finishedRuns holds the results of the one-time diagnoses that the master keeps.
func finishedRuns(ctx context.Context, in Input) map[string][]kubeproberv1.RunProbeStatus {
	GinkgoHelper()
	var list kubeproberv1.ProbeRunList
	Expect(in.Master.Client.List(ctx, &list, client.InNamespace(probeNamespace))).To(Succeed())
	runs := map[string][]kubeproberv1.RunProbeStatus{}
	for _, run := range list.Items {
		if run.Spec.ClusterName == in.ManagedName && run.Status.Phase.Finished() {
			runs[run.Name] = run.Status.Probes
		}
	}
	return runs
}
