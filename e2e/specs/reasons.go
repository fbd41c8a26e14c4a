// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// fault is a run that cannot judge.
type fault struct {
	// title completes "tells that".
	title string
	// name of the Probe.
	name string
	// script of the checker.
	script  string
	changes []change
	// inject does from outside what the run suffers, as soon as its pod is running; nil when the Probe itself is at fault.
	inject func(context.Context, Input, *corev1.Pod)
	// message that the outcome must match: the reason, and what Kubernetes or the checker said.
	message string
}

// hold is a script that goes on until it is stopped.
const hold = "echo working on it; sleep 600"

// fillMemory goes on for a moment after the kernel has ended what took the memory: a runtime on cgroup v1 hears of that later than of
// the end of a container, and if that comes first it knows of an exit code only.
const fillMemory = "echo filling up; tail /dev/zero; code=$?; sleep 2; exit $code"

// refused is what the names of containers and priority classes have that the cluster refuses.
const (
	noQuota  = "e2e-no-quota"
	unwanted = "e2e-unwanted"
)

// refusals make the cluster refuse pods: those of a priority class by quota, and those with a container of a name by admission.
const refusals = `
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: e2e-no-quota}
value: 1
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: e2e-no-quota, namespace: kubeprober}
spec:
  hard: {pods: "0"}
  scopeSelector:
    matchExpressions: [{scopeName: PriorityClass, operator: In, values: [e2e-no-quota]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: e2e-unwanted}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
    - expression: object.spec.containers.all(c, c.name != "e2e-unwanted")
      message: nobody wants this pod here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: e2e-unwanted}
spec: {policyName: e2e-unwanted, validationActions: [Deny]}
`

// faults are all ways in which a run on a healthy node cannot judge.
func faults(in Input) []fault {
	return []fault{
		{
			title: "an image does not exist", name: "no-image", changes: []change{within(25), withImage("127.0.0.1:1/there/is-no-such-image:v0")},
			message: `ImagePullBackOff: container checker: .*127\.0\.0\.1:1/there/is-no-such-image:v0.*connection refused`,
		},
		{
			title: "no node has what the template requests", name: "too-large", changes: []change{within(20), inContainer(func(c *corev1.Container) {
				c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500")}
			})},
			message: `Unschedulable: 0/2 nodes are available: 2 Insufficient cpu`,
		},
		{
			title: "a Secret is missing", name: "no-secret", changes: []change{within(25), inContainer(func(c *corev1.Container) {
				c.Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "nobody-made-it"}, Key: "password",
				}}}}
			})},
			message: `CreateContainerConfigError: container checker: secret "nobody-made-it" not found`,
		},
		{
			title: "an image wants to run as root", name: "as-root", changes: []change{within(25), withImage(in.image("e2e-as-root"))},
			message: `CreateContainerConfigError: container checker: .*runAsNonRoot and image will run as root`,
		},
		{
			title: "the quota is used up", name: "no-quota", changes: []change{inPod(func(p *corev1.PodSpec) { p.PriorityClassName = noQuota })},
			message: `PodRefused: .*exceeded quota: e2e-no-quota, requested: pods=1, used: pods=0, limited: pods=0`,
		},
		{
			title: "admission refuses the pod", name: "not-admitted", changes: []change{inContainer(func(c *corev1.Container) { c.Name = unwanted })},
			message: `PodRefused: .*nobody wants this pod here`,
		},
		{
			title: "the API server refuses the template", name: "no-job", changes: []change{inContainer(func(c *corev1.Container) { c.Name = "No Name" })},
			message: `JobRefused: .*containers\[0\]\.name: Invalid value: "No Name"`,
		},
		{
			title: "a container exhausts its memory", name: "memory-hog", script: fillMemory, changes: []change{inContainer(func(c *corev1.Container) {
				c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
			})},
			message: `OOMKilled: container checker exceeded its memory limit.*filling up`,
		},
		{
			title: "somebody removed the pod", name: "pod-gone", script: hold, inject: func(ctx context.Context, in Input, pod *corev1.Pod) {
				in.Managed.Kubectl("delete", "pod", "-n", pod.Namespace, pod.Name).Succeed(ctx)
			},
			message: `PodDeleted: the pod was removed before it ended`,
		},
		{
			title: "somebody removed the Job", name: "job-gone", script: hold, inject: func(ctx context.Context, in Input, pod *corev1.Pod) {
				in.Managed.Kubectl("delete", "job", "-n", pod.Namespace, "-l", kubeproberv1.ProbeLabel+"=job-gone").Succeed(ctx)
			},
			message: `JobDeleted: the Job was removed before it ended`,
		},
		{
			title: "the deadline passed", name: "too-slow", script: "echo first; echo second; sleep 600", changes: []change{within(10)},
			message: `DeadlineExceeded: .*first \| second`,
		},
		{
			title: "the program crashed", name: "crash", script: "echo what happened here; exit 3",
			message: `NonZeroExit: container checker ended with exit code 3.*what happened here`,
		},
		{
			title: "the program was killed", name: "killed", script: "echo going down; bash -c 'kill -SEGV $BASHPID'; exit $?",
			message: `NonZeroExit: container checker ended with exit code 139.*going down`,
		},
		{
			title: "an init container failed", name: "no-start", script: hold, changes: []change{inPod(func(p *corev1.PodSpec) {
				p.InitContainers = []corev1.Container{{
					Name: "prepare", Image: in.image("probe-base"), Command: []string{"bash", "-c", "echo nothing to prepare from; exit 4"},
				}}
			})},
			message: `NonZeroExit: container prepare ended with exit code 4.*nothing to prepare from`,
		},
		{
			title: "nobody reported", name: "silent", script: "true",
			message: `NoReport: `,
		},
		{
			title: "no node is selected", name: "nowhere", changes: []change{onEveryNode, inPod(func(p *corev1.PodSpec) { p.NodeSelector = map[string]string{"no": "such-node"} })},
			message: `NoEligibleNode: the template selects no node`,
		},
	}
}

// StartFaults makes one Probe for each reason why a run cannot judge, all of them at once. Reasons looks at what became of them.
func StartFaults(input func() Input) {
	It("starts probes that cannot judge", func(ctx SpecContext) {
		in := input()
		apply(ctx, in.Managed, refusals)
		// The API server takes a moment to learn of a policy.
		unwelcome := in.Managed.Kubectl("run", unwanted, "-n", "default", "--image=i", "--dry-run=server").Quiet()
		Eventually(func() string { return unwelcome.Run(ctx).Stderr }).WithContext(ctx).WithTimeout(soon).WithPolling(500 * time.Millisecond).
			Should(ContainSubstring("nobody wants this pod here"))
		for _, f := range faults(in) {
			create(ctx, in.Managed, in.local(f.name, f.script, f.changes...))
		}
		for _, f := range faults(in) {
			if f.inject != nil {
				f.inject(ctx, in, awaitPod(ctx, in.Managed, f.name))
			}
		}
	})
}

// Reasons is about runs that could not judge: they are UNKNOWN with the reason and the words of who knows it, never ERROR and
// never PASS.
func Reasons(input func() Input) {
	for _, f := range faults(Input{}) {
		It("tells that "+f.title, func(ctx SpecContext) {
			in := input()
			outcome := awaitRuns(ctx, in.Managed, f.name, 1, diagnose)
			expectReason(outcome, f.message)
			Expect(outcome.Message).To(HavePrefix(f.name + ": "))
		})
	}

	It("tells that a diagnosis names a Probe that does not exist", func(ctx SpecContext) {
		in := input()
		run := &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "of-nothing"}}
		run.Spec.Probes = []kubeproberv1.RunProbe{{Name: "nobody-made-it"}}
		Expect(in.Managed.Client.Create(ctx, run)).To(Succeed())
		run = framework.Await(ctx, in.Managed, run, aMinute, "is finished", func(r *kubeproberv1.ProbeRun) bool { return r.Status.Phase.Finished() })
		Expect(run.Status.Phase).To(Equal(kubeproberv1.RunIncomplete))
		Expect(run.Status.Probes[0].Status).To(Equal(kubeproberv1.CheckerUnknown))
		Expect(run.Status.Probes[0].Message).To(MatchRegexp("ProbeNotFound: .*nobody-made-it"))
	})

	It("shows all of them as UNKNOWN in kubectl probe status", func(ctx SpecContext) {
		in := input()
		table := framework.ParseTable(in.Managed.Kubectl("probe", "status").Run(ctx).Stdout)
		for _, f := range faults(in) {
			row := table.Row("PROBER", f.name)
			Expect(row).To(HaveKeyWithValue("STATUS", "UNKNOWN"), f.name)
			Expect(row["MESSAGE"]).To(MatchRegexp(f.message), f.name)
		}
	})

	It("leaves nothing of them running", func(ctx SpecContext) {
		in := input()
		for _, f := range faults(in) {
			Eventually(func(g Gomega) {
				for _, pod := range podsOf(ctx, in.Managed, f.name) {
					g.Expect(pod.Status.Phase).To(BeElementOf(corev1.PodSucceeded, corev1.PodFailed), pod.Name)
				}
				for _, job := range jobsOf(ctx, in.Managed, f.name) {
					g.Expect(job.Status.Active).To(BeZero(), job.Name)
				}
			}).WithContext(ctx).WithTimeout(soon).WithPolling(time.Second).Should(Succeed())
		}
	})
}

// expectReason expects that the last run of a probe could not judge, and says why; nothing that it says may look like a verdict.
func expectReason(outcome *kubeproberv1.ProbeOutcome, message string) {
	GinkgoHelper()
	Expect(outcome.Status).To(Equal(kubeproberv1.CheckerUnknown), "%v", outcome)
	Expect(outcome.Message).To(MatchRegexp(message))
	Expect(outcome.History[0].Status).To(Equal(kubeproberv1.CheckerUnknown))
	Expect(outcome.History[0].Message).To(MatchRegexp(message))
	Expect(outcome.History[0].ErrorCount).To(BeZero())
	for _, r := range outcome.Checkers {
		Expect(r.Status).To(Equal(kubeproberv1.CheckerUnknown), fmt.Sprint(r))
	}
}
