// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

var _ = Describe("A run that could not judge", func() {
	DescribeTable("is UNKNOWN with the reason",
		func(ctx SpecContext, fault func(SpecContext, *batchv1.Job), message string) {
			ns := newNamespace(ctx)
			startAgent(ns)
			createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{TimeoutSeconds: ptr.To[int32](3)})
			job := theJob(ctx, ns, "k8s")
			fault(ctx, job)
			Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "k8s").Status }).Should(Equal(kubeproberv1.CheckerUnknown))
			outcome := outcomeOf(ctx, ns, "k8s")
			Expect(outcome.Checkers).To(HaveLen(1))
			Expect(outcome.Checkers[0].Name).To(Equal("k8s"))
			Expect(outcome.Checkers[0].Message).To(HavePrefix(message))
			Expect(outcome.History).To(HaveLen(1))
			Expect(outcome.History[0].Status).To(Equal(kubeproberv1.CheckerUnknown))
			Expect(outcome.History[0].Total).To(BeZero())
			code, text := post(job, results("late=PASS"))
			Expect(code).To(Equal(http.StatusGone), text)
		},
		Entry("when its image cannot be pulled, long before the deadline", func(ctx SpecContext, job *batchv1.Job) {
			waitIn(ctx, startPod(ctx, job), "ImagePullBackOff", "Back-off pulling image")
			expectStopped(ctx, job)
		}, "ImagePullBackOff: container checker: Back-off pulling image"),
		Entry("when the name of its image is none", func(ctx SpecContext, job *batchv1.Job) {
			waitIn(ctx, startPod(ctx, job), "InvalidImageName", "couldn't parse image name")
		}, "ImagePullBackOff: container checker: couldn't parse"),
		Entry("when a Secret of its template is missing", func(ctx SpecContext, job *batchv1.Job) {
			waitIn(ctx, startPod(ctx, job), "CreateContainerConfigError", `secret "x" not found`)
		}, `CreateContainerConfigError: container checker: secret "x" not found`),
		Entry("when no node takes its pod", func(ctx SpecContext, job *batchv1.Job) {
			setPod(ctx, startPod(ctx, job), func(s *corev1.PodStatus) {
				*s = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
					Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
					Message: "0/1 nodes are available: 1 Insufficient cpu.",
				}}}
			})
			expectStopped(ctx, job)
		}, "Unschedulable: 0/1 nodes are available"),
		Entry("when quota refuses its pod", func(ctx SpecContext, job *batchv1.Job) {
			event := &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: job.Namespace, GenerateName: job.Name},
				InvolvedObject: corev1.ObjectReference{Kind: "Job", Namespace: job.Namespace, Name: job.Name, UID: job.UID},
				Reason:         "FailedCreate", Message: `pods "x" is forbidden: exceeded quota`, LastTimestamp: metav1.Now(),
			}
			Expect(api.Create(ctx, event)).To(Succeed())
			expectStopped(ctx, job)
		}, `PodRefused: pods "x" is forbidden: exceeded quota`),
		Entry("when it exceeds its memory", func(ctx SpecContext, job *batchv1.Job) {
			endPod(ctx, startPod(ctx, job), 137, "OOMKilled")
		}, "OOMKilled: container checker"),
		Entry("when it ends badly", func(ctx SpecContext, job *batchv1.Job) {
			endPod(ctx, startPod(ctx, job), 3, "Error")
		}, "NonZeroExit: container checker ended with exit code 3"),
		Entry("when it is evicted", func(ctx SpecContext, job *batchv1.Job) {
			setPod(ctx, startPod(ctx, job), func(s *corev1.PodStatus) {
				s.Phase, s.Reason, s.Message = corev1.PodFailed, "Evicted", "The node was low on resource: memory."
			})
		}, "Evicted: The node was low"),
		Entry("when its node is gone", func(ctx SpecContext, job *batchv1.Job) {
			setPod(ctx, startPod(ctx, job), func(s *corev1.PodStatus) {
				s.Phase = corev1.PodFailed
				s.Conditions = []corev1.PodCondition{{
					Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists",
				}}
			})
		}, "NodeLost: node node-1: PodGC"),
		Entry("when somebody removes its pod", func(ctx SpecContext, job *batchv1.Job) {
			Expect(api.Delete(ctx, startPod(ctx, job), client.GracePeriodSeconds(0))).To(Succeed())
			endJob(ctx, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
		}, "PodDeleted: "),
		Entry("when somebody removes its Job", func(ctx SpecContext, job *batchv1.Job) {
			Expect(api.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
		}, "JobDeleted: "),
		Entry("when it takes too long", func(ctx SpecContext, job *batchv1.Job) {
			startPod(ctx, job)
			expectStopped(ctx, job)
		}, "DeadlineExceeded: the run took longer"),
		Entry("when its pod is never made", func(SpecContext, *batchv1.Job) {}, "DeadlineExceeded: no pod was made"),
		Entry("when it ends well without a report", func(ctx SpecContext, job *batchv1.Job) {
			endWell(ctx, job, startPod(ctx, job))
		}, "NoReport: "),
	)

	It("is UNKNOWN when the API server refuses the template", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bad"}, Spec: probeSpec(everyMinutes(30))}
		probe.Spec.Template.Containers[0].Name = "No Name"
		Expect(api.Create(ctx, probe)).To(Succeed())
		Eventually(func() string { return outcomeOf(ctx, ns, "bad").Message }).Should(HavePrefix("bad: JobRefused: "))
		Consistently(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "bad").History }, "300ms").Should(HaveLen(1))
	})

	It("keeps what was reported, and does not keep the verdicts of the run before", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		code, _ := post(job, results("a=PASS", "b=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		endWell(ctx, job, pod)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "k8s").Status }).Should(Equal(kubeproberv1.CheckerPass))

		By("failing after one of two reports")
		changeProbe(ctx, probe)
		job = newestJob(ctx, ns, "k8s", 2)
		pod = startPod(ctx, job)
		code, _ = post(job, results("a=INFO"))
		Expect(code).To(Equal(http.StatusOK))
		endPod(ctx, pod, 1, "Error")
		Eventually(func() []string { return said(outcomeOf(ctx, ns, "k8s").Checkers) }).Should(Equal([]string{"a=INFO", "b=UNKNOWN", "k8s=UNKNOWN"}))
		endJob(ctx, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)

		By("dropping what a complete run does not report")
		changeProbe(ctx, probe)
		job = newestJob(ctx, ns, "k8s", 3)
		pod = startPod(ctx, job)
		code, _ = post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		endWell(ctx, job, pod)
		Eventually(func() []string { return said(outcomeOf(ctx, ns, "k8s").Checkers) }).Should(Equal([]string{"a=PASS"}))
	})

	It("does not blame the checkers when somebody removes the results", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		code, _ := post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		// The times of objects are in whole seconds.
		Eventually(func() time.Duration { return time.Since(job.CreationTimestamp.Time) }).Should(BeNumerically(">", time.Second))
		Expect(api.Delete(ctx, &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "k8s"}})).To(Succeed())
		endWell(ctx, job, pod)
		Eventually(func() string { return outcomeOf(ctx, ns, "k8s").Message }).Should(ContainSubstring("somebody removed the ProbeStatus"))
	})
})

// expectStopped waits until the agent has given a Job up.
func expectStopped(ctx SpecContext, job *batchv1.Job) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(api.Get(ctx, client.ObjectKeyFromObject(job), job)).To(Succeed())
		g.Expect(job.Spec.ActiveDeadlineSeconds).To(HaveValue(BeEquivalentTo(1)))
	}).Should(Succeed())
}

// newestJob waits for the Job of a generation.
func newestJob(ctx SpecContext, namespace, probe string, generation int) *batchv1.Job {
	GinkgoHelper()
	var found *batchv1.Job
	Eventually(func(g Gomega) {
		found = jobOfGeneration(ctx, namespace, probe, generation)
		g.Expect(found).NotTo(BeNil())
	}).Should(Succeed())
	return found
}
