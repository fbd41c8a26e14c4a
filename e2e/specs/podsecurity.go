// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// elevatedNamespace holds the runs of probes that need more than the Pod Security level restricted.
const elevatedNamespace = "kubeprober-elevated"

// InstallStandalone deploys an agent without a master.
func InstallStandalone(input func() Input) {
	It("from deployment/probe-agent-standalone.yaml", func(ctx SpecContext) {
		Expect(input().Managed.Deploy(ctx, "probe-agent-standalone")).To(Succeed())
	})
}

// PodSecurity is about probes that need more of their node than others: they run in a namespace of their own, or not at all.
func PodSecurity(input func() Input) {
	const privileged = `{"spec":{"containers":[{"name":"c","image":"i","securityContext":{"privileged":true}}]}}`

	It("runs a plain probe where only restricted pods are admitted", func(ctx SpecContext) {
		in := input()
		const name = "plain"
		p := in.local(name, passScript)
		create(ctx, in.Managed, p)
		deleteLater(in.Managed, p)
		awaitRuns(ctx, in.Managed, name, 1, aMinute)
		expectJobsIn(ctx, in.Managed, name, namespace, 1)
		out := in.Managed.Kubectl("run", "intruder", "-n", namespace, "--image=i", "--dry-run=server", "--overrides="+privileged).Fail(ctx)
		Expect(out).To(ContainSubstring(`violates PodSecurity "restricted`))
	})

	It("runs the checks of nodes in the namespace for elevated probes, and reports them like any other", func(ctx SpecContext) {
		in := input()
		in.Managed.Kubectl("apply", "-n", namespace, "-f", "-").Stdin(in.sample("host")).Succeed(ctx)
		outcome := awaitRuns(ctx, in.Managed, "host", 1, diagnose)
		for _, name := range []string{in.Managed.ControlPlane(), in.Managed.Worker()} {
			on := 0
			for _, r := range outcome.Checkers {
				if r.Node == name {
					Expect(r.Status).NotTo(Equal(kubeproberv1.CheckerUnknown), "%v", r)
					on++
				}
			}
			Expect(on).To(BeNumerically(">=", 3), "checkers of node %s", name)
		}
		expectJobsIn(ctx, in.Managed, "host", elevatedNamespace, 2)
	})

	It("removes what an elevated probe has there when the Probe is deleted", func(ctx SpecContext) {
		expectDeletedWhole(ctx, input(), "host")
	})

	It("refuses an elevated probe, and says what it asks for, when the operator wants that", func(ctx SpecContext) {
		in := input()
		const name = "too-curious"
		DeferCleanup(func(ctx SpecContext) { setAgentArgs(ctx, in.Managed) }, NodeTimeout(2*time.Minute))
		setAgentArgs(ctx, in.Managed, "--elevated-probes=Refuse")
		p := in.local(name, passScript, inPod(func(p *corev1.PodSpec) { p.HostNetwork, p.HostPID = true, true }))
		create(ctx, in.Managed, p)
		deleteLater(in.Managed, p)
		expectReason(awaitRuns(ctx, in.Managed, name, 1, aMinute), `ElevationRefused: .*host namespaces.*hostNetwork=true.*hostPID=true.*--elevated-probes`)
		Expect(jobsOf(ctx, in.Managed, name)).To(BeEmpty())
	})
}

func expectJobsIn(ctx context.Context, c *framework.Cluster, probe, namespace string, count int) {
	GinkgoHelper()
	jobs := jobsOf(ctx, c, probe)
	Expect(jobs).To(HaveLen(count))
	for _, job := range jobs {
		Expect(job.Namespace).To(Equal(namespace))
	}
}

func agentDeployment() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe-agent"}}
}

// setAgentArgs gives the agent flags, and waits until it runs with them.
func setAgentArgs(ctx context.Context, c *framework.Cluster, args ...string) {
	GinkgoHelper()
	list, err := json.Marshal(append([]string{}, args...))
	Expect(err).NotTo(HaveOccurred())
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"probe-agent","args":%s}]}}}}`, list)
	c.Kubectl("patch", "-n", namespace, "deployment/probe-agent", "-p", patch).Succeed(ctx)
	c.Kubectl("rollout", "status", "-n", namespace, "deployment/probe-agent", "--timeout=120s").Succeed(ctx)
}
