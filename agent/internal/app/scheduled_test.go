// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

var _ = Describe("A scheduled probe", func() {
	It("runs at once, reports, and waits for its interval", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", everyMinutes(30))
		job := theJob(ctx, ns, "k8s")

		By("owning its Job, with the environment of a checker")
		Expect(metav1.IsControlledBy(job, probe)).To(BeTrue())
		env := environmentOf(job)
		Expect(env).To(HaveKeyWithValue(report.EnvProbeName, "k8s"))
		Expect(env).To(HaveKeyWithValue(report.EnvProbeNamespace, ns))
		Expect(env).To(HaveKeyWithValue(report.EnvRunID, job.Labels[kubeproberv1.RunIDLabel]))
		deadline, err := time.Parse(time.RFC3339, env[report.EnvRunDeadline])
		Expect(err).NotTo(HaveOccurred())
		Expect(deadline).To(BeTemporally("~", time.Now().Add(30*time.Minute), 10*time.Second))

		By("storing what it reports before it has ended")
		pod := startPod(ctx, job)
		code, text := post(job, results("dns=pass", "deployment=Error:no pod came up"))
		Expect(code).To(Equal(http.StatusOK), text)
		outcome := outcomeOf(ctx, ns, "k8s")
		Expect(said(outcome.Checkers)).To(Equal([]string{"deployment=ERROR", "dns=PASS"}))
		Expect(outcome.Status).To(BeEmpty(), "a status is published before the first run has ended")

		By("publishing when it has ended")
		endWell(ctx, job, pod)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "k8s").Status }).Should(Equal(kubeproberv1.CheckerError))
		outcome = outcomeOf(ctx, ns, "k8s")
		Expect(outcome.Message).To(Equal("deployment: no pod came up"))
		Expect(outcome.History).To(HaveLen(1))
		Expect(outcome.History[0]).To(HaveField("ErrorCount", BeEquivalentTo(1)))
		Expect(outcome.History[0]).To(HaveField("Total", BeEquivalentTo(2)))
		Expect(outcome.LastRunID).To(Equal(job.Labels[kubeproberv1.RunIDLabel]))
		Expect(outcome.StaleTime.Sub(probe.CreationTimestamp.Time)).To(Equal(time.Hour))

		By("saying in the Probe what comes next")
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			g.Expect(probe.Status.NextRunTime).NotTo(BeNil())
			g.Expect(probe.Status.NextRunTime.Sub(probe.CreationTimestamp.Time)).To(Equal(30 * time.Minute))
			g.Expect(meta.IsStatusConditionTrue(probe.Status.Conditions, kubeproberv1.ProbeScheduledCondition)).To(BeTrue())
		}).Should(Succeed())
		Consistently(func() []batchv1.Job { return jobsOf(ctx, ns, "k8s") }, "500ms").Should(HaveLen(1))
	})

	It("runs once for each generation when it has no interval", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "once", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "once")
		pod := startPod(ctx, job)
		code, _ := post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		endWell(ctx, job, pod)
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			condition := meta.FindStatusCondition(probe.Status.Conditions, kubeproberv1.ProbeScheduledCondition)
			g.Expect(condition).To(HaveField("Reason", kubeproberv1.ProbeCompletedReason))
			g.Expect(outcomeOf(ctx, ns, "once").Status).To(Equal(kubeproberv1.CheckerPass))
		}).Should(Succeed())
		Expect(outcomeOf(ctx, ns, "once").StaleTime).To(BeNil())

		changeProbe(ctx, probe)
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "once") }).Should(HaveLen(2))
	})

	It("runs once for all runs that were missed while the agent was away", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		probe := createProbe(ctx, ns, "missed", everyMinutes(1))
		last := metav1.NewTime(time.Now().Add(-2 * time.Hour).Truncate(time.Second))
		probe.Status.LastRunTime = &last
		Expect(api.Status().Update(ctx, probe)).To(Succeed())
		// The run before is known to have ended.
		status := &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "missed", OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(probe, kubeproberv1.GroupVersion.WithKind("Probe")),
		}}}
		Expect(api.Create(ctx, status)).To(Succeed())

		startAgent(ns)
		job := theJob(ctx, ns, "missed")
		due, err := time.Parse(time.RFC3339, job.Annotations[run.DueAnnotation])
		Expect(err).NotTo(HaveOccurred())
		Expect(time.Since(due)).To(BeNumerically("<", 70*time.Second))
		Expect(due.Sub(last.Time)%time.Minute).To(BeZero(), "the run left the rhythm of the probe")
		Consistently(func() []batchv1.Job { return jobsOf(ctx, ns, "missed") }, "500ms").Should(HaveLen(1))
	})

	It("starts nothing while suspended, and says so", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		policy := everyMinutes(1)
		policy.State = kubeproberv1.ProbeSuspended
		probe := createProbe(ctx, ns, "suspended", policy)
		expectScheduled(ctx, probe, metav1.ConditionFalse, kubeproberv1.ProbeSuspendedReason)
		Expect(jobsOf(ctx, ns, "suspended")).To(BeEmpty())
	})

	It("says what is wrong with a policy that cannot be followed", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "invalid", kubeproberv1.ProbePolicy{Schedule: ptr.To("0 0 30 2 *")})
		condition := expectScheduled(ctx, probe, metav1.ConditionFalse, kubeproberv1.ProbeInvalidPolicyReason)
		Expect(condition.Message).To(ContainSubstring("never comes due"))
		Expect(jobsOf(ctx, ns, "invalid")).To(BeEmpty())
	})

	It("waits with a due run until the one under way has ended", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "busy", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "busy")
		changeProbe(ctx, probe)
		Consistently(func() []batchv1.Job { return jobsOf(ctx, ns, "busy") }, "500ms").Should(HaveLen(1))
		endWell(ctx, job, startPod(ctx, job))
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "busy") }).Should(HaveLen(2))
	})

	It("is damped by its failure threshold", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "flaky", kubeproberv1.ProbePolicy{FailureThreshold: ptr.To[int32](2)})
		for i, want := range []string{"a=WARN", "a=ERROR", "a=PASS", "a=WARN"} {
			job := newestJob(ctx, ns, "flaky", i+1)
			pod := startPod(ctx, job)
			verdict := "a=ERROR:broken"
			if i == 2 {
				verdict = "a=PASS"
			}
			for range 2 {
				code, text := post(job, results(verdict))
				Expect(code).To(Equal(http.StatusOK), text)
			}
			Expect(said(outcomeOf(ctx, ns, "flaky").Checkers)).To(Equal([]string{want}), "run %d", i+1)
			endWell(ctx, job, pod)
			changeProbe(ctx, probe)
		}
	})

	It("keeps the Jobs of the newest runs only", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "many", kubeproberv1.ProbePolicy{})
		seen := map[string]bool{}
		for i := range 8 {
			var job *batchv1.Job
			Eventually(func(g Gomega) {
				job = nil
				for _, j := range jobsOf(ctx, ns, "many") {
					if !seen[j.Name] {
						job = &j
					}
				}
				g.Expect(job).NotTo(BeNil())
			}).Should(Succeed())
			seen[job.Name] = true
			if i%2 == 0 {
				endJob(ctx, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
			} else {
				endWell(ctx, job, startPod(ctx, job))
			}
			Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "many").History }).Should(HaveLen(i + 1))
			if i < 7 {
				changeProbe(ctx, probe)
			}
		}
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "many") }).Should(HaveLen(3))
		var failed int
		for _, job := range jobsOf(ctx, ns, "many") {
			if _, well := run.JobFinished(&job); !well {
				failed++
			}
		}
		Expect(failed).To(Equal(2))
	})

	It("stays good when an old failure leaves its history", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "healed", kubeproberv1.ProbePolicy{})
		failed := newestJob(ctx, ns, "healed", 1)
		endJob(ctx, failed, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "healed").Status }).Should(Equal(kubeproberv1.CheckerUnknown))
		for i := range kubeproberv1.MaxHistory + 3 {
			changeProbe(ctx, probe)
			job := newestJob(ctx, ns, "healed", i+2)
			pod := startPod(ctx, job)
			code, text := post(job, results("a=PASS"))
			Expect(code).To(Equal(http.StatusOK), text)
			endWell(ctx, job, pod)
			Eventually(func() string { return outcomeOf(ctx, ns, "healed").LastRunID }).Should(Equal(job.Labels[kubeproberv1.RunIDLabel]), "run %d", i+2)
		}
		Expect(api.Get(ctx, client.ObjectKeyFromObject(failed), failed)).To(Succeed(), "the failure is kept for a person to look at")
		Consistently(func(g Gomega) {
			outcome := outcomeOf(ctx, ns, "healed")
			g.Expect(said(outcome.Checkers)).To(Equal([]string{"a=PASS"}))
			for _, record := range outcome.History {
				g.Expect(record.RunID).NotTo(Equal(failed.Labels[kubeproberv1.RunIDLabel]))
			}
		}, "500ms").Should(Succeed())
	})

	It("loses none of many reports that come at once", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		createProbe(ctx, ns, "busy", everyMinutes(30))
		job := theJob(ctx, ns, "busy")
		const reports = 100
		var group sync.WaitGroup
		for i := range reports {
			group.Go(func() {
				defer GinkgoRecover()
				code, text := post(job, results(fmt.Sprintf("checker-%d=PASS", i)))
				Expect(code).To(Equal(http.StatusOK), text)
			})
		}
		group.Wait()
		Expect(outcomeOf(ctx, ns, "busy").Checkers).To(HaveLen(reports))
	})

	It("goes on where a stopped agent has left off, and loses nothing that was acknowledged", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		first := startAgent(ns)
		createProbe(ctx, ns, "restart", everyMinutes(30))
		job := theJob(ctx, ns, "restart")
		pod := startPod(ctx, job)
		code, _ := post(job, results("before=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		first.stop()
		endWell(ctx, job, pod)
		Expect(outcomeOf(ctx, ns, "restart").History).To(BeEmpty())

		startAgent(ns)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "restart").Status }).Should(Equal(kubeproberv1.CheckerPass))
		Expect(said(outcomeOf(ctx, ns, "restart").Checkers)).To(Equal([]string{"before=PASS"}))
		Expect(jobsOf(ctx, ns, "restart")).To(HaveLen(1))
	})

	It("runs on each node that the template allows, and tells which it left out", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		label := createNodes(ctx, ns, map[string]corev1.NodeSpec{
			"a": {}, "b": {}, "cordoned": {Unschedulable: true},
			"tainted": {Taints: []corev1.Taint{{Key: "special", Effect: corev1.TaintEffectNoSchedule}}},
		})
		startAgent(ns)
		probe := &kubeproberv1.Probe{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "every"},
			Spec:       probeSpec(kubeproberv1.ProbePolicy{Placement: kubeproberv1.PlaceEveryNode}),
		}
		probe.Spec.Template.NodeSelector = label
		Expect(api.Create(ctx, probe)).To(Succeed())
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "every") }).Should(HaveLen(2))
		jobs := jobsOf(ctx, ns, "every")
		for i := range jobs {
			pod := startPod(ctx, &jobs[i])
			if jobs[i].Annotations[run.NodeAnnotation] == ns+"-a" {
				code, text := post(&jobs[i], results("disk=PASS"))
				Expect(code).To(Equal(http.StatusOK), text)
				endWell(ctx, &jobs[i], pod)
			} else {
				endPod(ctx, pod, 137, "OOMKilled")
				endJob(ctx, &jobs[i], batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
			}
		}
		Eventually(func() []string { return said(outcomeOf(ctx, ns, "every").Checkers) }).Should(Equal(
			[]string{"disk=PASS@" + ns + "-a", "every=UNKNOWN@" + ns + "-b"}))
		Expect(outcomeOf(ctx, ns, "every").Message).To(HavePrefix("every on " + ns + "-b: OOMKilled"))
		Expect(jobs[0].Annotations).To(HaveKeyWithValue("kubeprober.erda.cloud/left-out",
			"nodes left out: "+ns+"-cordoned (cordoned), "+ns+"-tainted (taint special:NoSchedule)"))
	})
})

func expectScheduled(ctx SpecContext, probe *kubeproberv1.Probe, status metav1.ConditionStatus, reason string) *metav1.Condition {
	GinkgoHelper()
	var condition *metav1.Condition
	Eventually(func(g Gomega) {
		g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
		condition = meta.FindStatusCondition(probe.Status.Conditions, kubeproberv1.ProbeScheduledCondition)
		g.Expect(condition).NotTo(BeNil())
		g.Expect(condition.Status).To(Equal(status))
		g.Expect(condition.Reason).To(Equal(reason))
	}).Should(Succeed())
	return condition
}
