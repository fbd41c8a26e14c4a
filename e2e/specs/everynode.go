// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// greet reports from each node. holdOnWorker does so, too, but for the worker, where it goes on until it is stopped.
const (
	greet        = `report-status --name=alive --status=pass --message="greetings from $NODE_NAME"`
	holdOnWorker = `if [[ $NODE_NAME == *-worker ]]; then ` + hold + "; fi\n" + greet
)

// EveryNode is about probes that go to each node, and about what becomes of runs when a node is drained, cordoned or lost. It
// leaves both nodes as they were.
func EveryNode(input func() Input) {
	const each = "each"

	It("visits each node, and keeps which result is from where", func(ctx SpecContext) {
		in := input()
		create(ctx, in.Managed, in.local(each, greet, onEveryNode, within(20)))
		expectOnBothNodes(in, awaitRuns(ctx, in.Managed, each, 1, aMinute))
	})

	It("tells that a run was evicted when its node is drained", func(ctx SpecContext) {
		in := input()
		worker := in.Managed.Worker()
		startOnWorker(ctx, in, "drained", "each-drained")
		// An agent that is evicted as well may come back when the pods are gone, and knows only that they were removed.
		in.Managed.Kubectl("cordon", worker).Succeed(ctx)
		restart(ctx, in.Managed, "probe-agent")
		awaitLeader(ctx, in.Managed, "is held by a pod of the other node", func(pod *corev1.Pod) bool { return pod.Spec.NodeName != worker })
		in.Managed.Kubectl("drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s").Succeed(ctx)
		expectGoneWithNode(ctx, in, "drained", "each-drained", "Evicted: Eviction API: evicting", aMinute)
	})

	It("leaves out a cordoned node, and says so", func(ctx SpecContext) {
		in := input()
		worker := in.Managed.Worker()
		Expect(framework.Get(ctx, in.Managed, node(worker)).Spec.Unschedulable).To(BeTrue(), "the drain has cordoned it")
		runAgain(ctx, in.Managed, each, "")
		outcome := awaitRuns(ctx, in.Managed, each, 2, aMinute)
		Expect(verdicts(outcome)).To(Equal([]string{"alive@" + in.Managed.ControlPlane() + "=PASS"}))
		said := fmt.Sprintf("nodes left out: %s (cordoned)", worker)
		Expect(outcome.Message).To(ContainSubstring(said))
		Expect(outcome.History[0].Message).To(ContainSubstring(said))
	})

	It("visits the node again when it takes pods again", func(ctx SpecContext) {
		in := input()
		in.Managed.Kubectl("uncordon", in.Managed.Worker()).Succeed(ctx)
		runAgain(ctx, in.Managed, each, "")
		outcome := awaitRuns(ctx, in.Managed, each, 3, aMinute)
		expectOnBothNodes(in, outcome)
		Expect(outcome.History[0].Message).To(BeEmpty())
	})

	It("tells that a node was lost, and visits it again when it is back", func(ctx SpecContext) {
		in := input()
		worker, controlPlane := in.Managed.Worker(), in.Managed.ControlPlane()
		startOnWorker(ctx, in, "lost", "each-lost")
		thaw := freeze(ctx, in.Managed, worker)
		expectGoneWithNode(ctx, in, "lost", "each-lost", "NodeLost: node "+worker, 2*aMinute)

		By("going to each node while one is away")
		runAgain(ctx, in.Managed, each, "")
		outcome := awaitRuns(ctx, in.Managed, each, 4, aMinute)
		Expect(verdicts(outcome)).To(Equal([]string{"alive@" + controlPlane + "=PASS", "alive@" + worker + "=UNKNOWN", each + "@" + worker + "=UNKNOWN"}))
		absence := result(outcome, each, worker).Message
		Expect(absence).To(MatchRegexp(`(Unschedulable: .*untolerated taint|NodeLost: node )`))
		Expect(result(outcome, "alive", worker).Message).To(HavePrefix("not checked: "))
		Expect(outcome.Status).To(Equal(kubeproberv1.CheckerUnknown))

		By("going to each node when it is back")
		thaw(ctx)
		framework.Await(ctx, in.Managed, node(worker), aMinute, "is Ready and without taints", func(n *corev1.Node) bool {
			return len(n.Spec.Taints) == 0 && nodeReady(n) == corev1.ConditionTrue
		})
		runAgain(ctx, in.Managed, each, "")
		expectOnBothNodes(in, awaitRuns(ctx, in.Managed, each, 5, aMinute))
	})
}

// startOnWorker starts a run that is on the worker only, and one on each node of which the part on the worker goes on.
func startOnWorker(ctx context.Context, in Input, alone, each string) {
	GinkgoHelper()
	worker := in.Managed.Worker()
	create(ctx, in.Managed, in.local(alone, hold, onNode(worker)), in.local(each, holdOnWorker, onEveryNode))
	awaitPod(ctx, in.Managed, alone)
	framework.Await(ctx, in.Managed, probeStatus(each), aMinute, "has the result of the control plane", func(p *kubeproberv1.ProbeStatus) bool {
		return result(&p.Status, "alive", in.Managed.ControlPlane()) != nil
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{kubeproberv1.ProbeLabel: each}}}
	framework.Await(ctx, in.Managed, pod, aMinute, "runs on the worker", func(p *corev1.Pod) bool {
		return p.Spec.NodeName == worker && p.Status.Phase == corev1.PodRunning
	})
}

// expectGoneWithNode expects what startOnWorker has started to end with the reason, without a loss of what other nodes have said.
func expectGoneWithNode(ctx context.Context, in Input, alone, each, reason string, limit time.Duration) {
	GinkgoHelper()
	worker := in.Managed.Worker()
	expectReason(awaitRuns(ctx, in.Managed, alone, 1, limit), reason)
	outcome := awaitRuns(ctx, in.Managed, each, 1, limit)
	Expect(verdicts(outcome)).To(Equal([]string{"alive@" + in.Managed.ControlPlane() + "=PASS", each + "@" + worker + "=UNKNOWN"}))
	Expect(result(outcome, each, worker).Message).To(MatchRegexp(reason))
	Expect(outcome.Status).To(Equal(kubeproberv1.CheckerUnknown))
	Expect(outcome.Message).To(MatchRegexp(each + " on " + worker + ": " + reason))
}

func expectOnBothNodes(in Input, outcome *kubeproberv1.ProbeOutcome) {
	GinkgoHelper()
	nodes := []string{in.Managed.ControlPlane(), in.Managed.Worker()}
	Expect(verdicts(outcome)).To(Equal([]string{"alive@" + nodes[0] + "=PASS", "alive@" + nodes[1] + "=PASS"}))
	for _, name := range nodes {
		Expect(result(outcome, "alive", name).Message).To(Equal("greetings from " + name))
	}
	Expect(outcome.Status).To(Equal(kubeproberv1.CheckerPass))
}

// freeze takes a node away until thaw is called, or the spec ends, and waits until Kubernetes knows.
func freeze(ctx context.Context, c *framework.Cluster, name string) (thaw func(context.Context)) {
	GinkgoHelper()
	Expect(c.FreezeNode(ctx, name)).To(Succeed())
	var once sync.Once
	thaw = func(ctx context.Context) {
		GinkgoHelper()
		once.Do(func() { Expect(c.ThawNode(ctx, name)).To(Succeed()) })
	}
	DeferCleanup(func(ctx SpecContext) { thaw(ctx) }, NodeTimeout(time.Minute))
	framework.Await(ctx, c, node(name), aMinute, "is not heard of", func(n *corev1.Node) bool { return nodeReady(n) == corev1.ConditionUnknown })
	return thaw
}

func node(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func nodeReady(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}
