// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Crashes is about agents that are killed, and about two of them: each run that is due is made once, and its result is kept.
func Crashes(input func() Input) {
	const probes = 10
	names := make([]string, probes)
	for i := range names {
		names[i] = fmt.Sprintf("steady-%d", i)
	}
	// Takes long enough for a crash before, during and after the report.
	const script = `sleep $((RANDOM % 6 + 2)); report-status --name=alive --status=pass --message="$KUBEPROBER_RUN_ID"; sleep $((RANDOM % 3))`

	It("loses and doubles nothing when the agent is killed again and again", func(ctx SpecContext) {
		in := input()
		jobs := framework.Watch(ctx, in.Managed, &batchv1.Job{})
		for i, name := range names {
			create(ctx, in.Managed, in.local(name, script))
			if i == probes/2 {
				crash(ctx, in.Managed, leader(ctx, in.Managed))
			}
		}
		awaitPod(ctx, in.Managed, names[probes-1])
		kill(ctx, in.Managed, leader(ctx, in.Managed))
		expectEachRunOnce(ctx, in, jobs, names, 1)
	})

	It("runs no probe twice when there are two agents and the leading one is killed", func(ctx SpecContext) {
		in := input()
		scale(ctx, in.Managed, 2)
		DeferCleanup(func(ctx SpecContext) { scale(ctx, in.Managed, 1) }, NodeTimeout(2*time.Minute))
		jobs := framework.Watch(ctx, in.Managed, &batchv1.Job{})
		// The runs of the spec before, so far as their Jobs are kept.
		before := runIDs(jobs, names)
		Expect(before).To(HaveLen(probes))

		for i, name := range names {
			runAgain(ctx, in.Managed, name, "")
			if i == probes/2 {
				kill(ctx, in.Managed, leader(ctx, in.Managed))
			}
		}
		expectEachRunOnce(ctx, in, jobs, names, 2)
		for _, name := range names {
			runAgain(ctx, in.Managed, name, "")
		}
		expectEachRunOnce(ctx, in, jobs, names, 3)
		Expect(framework.Get(ctx, in.Managed, agentDeployment()).Status.ReadyReplicas).To(BeEquivalentTo(2))
	})

	It("keeps one Job of each probe at most, and no pod beside", func(ctx SpecContext) {
		in := input()
		for _, name := range names {
			Eventually(func(g Gomega) {
				g.Expect(jobsOf(ctx, in.Managed, name)).To(HaveLen(1))
				g.Expect(podsOf(ctx, in.Managed, name)).To(HaveLen(1))
			}).WithContext(ctx).WithTimeout(soon).WithPolling(500*time.Millisecond).Should(Succeed(), name)
		}
	})
}

// expectEachRunOnce expects that each probe has passed so many runs, every one of them recorded once and made by one Job.
func expectEachRunOnce(ctx context.Context, in Input, jobs *framework.Seen[*batchv1.Job], names []string, runs int) {
	GinkgoHelper()
	recorded := map[string]bool{}
	for _, name := range names {
		outcome := awaitRuns(ctx, in.Managed, name, runs, 2*aMinute)
		Expect(verdicts(outcome)).To(Equal([]string{"alive=PASS"}), name)
		Expect(outcome.Checkers[0].Message).To(Equal(outcome.LastRunID), "the result is that of the latest run")
		for _, past := range outcome.History {
			Expect(past.Status).To(Equal(kubeproberv1.CheckerPass), "%s: %v", name, past)
			Expect(recorded).NotTo(HaveKey(past.RunID))
			recorded[past.RunID] = true
		}
	}
	made := runIDs(jobs, names)
	Expect(made).To(HaveLen(len(names)*runs), "one Job for each run")
	for id, times := range made {
		Expect(recorded).To(HaveKey(id))
		Expect(times).To(Equal(1), "Jobs of run %s", id)
	}
	fmt.Fprintf(GinkgoWriter, "%d runs were due, %d Jobs were made, %d runs are recorded\n", len(names)*runs, len(made), len(recorded))
}

// runIDs counts the Jobs of each run of the probes.
func runIDs(jobs *framework.Seen[*batchv1.Job], names []string) map[string]int {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	made := map[string]int{}
	for _, job := range jobs.All() {
		if wanted[job.Labels[kubeproberv1.ProbeLabel]] {
			made[job.Labels[kubeproberv1.RunIDLabel]]++
		}
	}
	return made
}

// leader is the name of the pod of the agent that runs probes.
func leader(ctx context.Context, c *framework.Cluster) string {
	GinkgoHelper()
	return awaitLeader(ctx, c, "is held by a pod that is there", func(pod *corev1.Pod) bool { return pod.DeletionTimestamp == nil })
}

// awaitLeader waits until the pod of the agent that runs probes is as wanted, and returns its name. The Lease is renewed every few
// seconds, so that a change of the pod is noticed as well.
func awaitLeader(ctx context.Context, c *framework.Cluster, want string, is func(*corev1.Pod) bool) string {
	GinkgoHelper()
	key := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe-agent.kubeprober.erda.cloud"}}
	holder := func(l *coordinationv1.Lease) string {
		name, _, _ := strings.Cut(ptr.Deref(l.Spec.HolderIdentity, ""), "_")
		return name
	}
	return holder(framework.Await(ctx, c, key, aMinute, want, func(l *coordinationv1.Lease) bool {
		var pod corev1.Pod
		return holder(l) != "" && c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: holder(l)}, &pod) == nil && is(&pod)
	}))
}

// crash ends the process of an agent as the kernel does.
func crash(ctx context.Context, c *framework.Cluster, pod string) {
	GinkgoHelper()
	at := framework.Get(ctx, c, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod}}).Spec.NodeName
	_, err := c.OnNode(ctx, at, "pkill", "-KILL", "-x", "probe-agent")
	Expect(err).NotTo(HaveOccurred())
}

// kill removes the pod of an agent without waiting for it.
func kill(ctx context.Context, c *framework.Cluster, pod string) {
	GinkgoHelper()
	c.Kubectl("delete", "pod", "-n", namespace, pod, "--force", "--grace-period=0").Succeed(ctx)
}

func scale(ctx context.Context, c *framework.Cluster, replicas int) {
	GinkgoHelper()
	c.Kubectl("scale", "-n", namespace, "deployment/probe-agent", fmt.Sprintf("--replicas=%d", replicas)).Succeed(ctx)
	c.Kubectl("rollout", "status", "-n", namespace, "deployment/probe-agent", "--timeout=60s").Succeed(ctx)
}
