// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"context"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// enforce makes a namespace whose pods the API server holds to a level of Pod Security.
func enforce(ctx context.Context, level podsecurity.Level) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agent-" + string(level) + "-", Labels: map[string]string{
		podsecurity.EnforceLevelLabel: string(level),
	}}}
	Expect(api.Create(ctx, ns)).To(Succeed())
	return ns.Name
}

func elevateTo(namespace string) func(*app.Options) {
	return func(o *app.Options) { o.ElevatedNamespace = namespace }
}

// createHostProbe makes a Probe whose pods want the network of their node.
func createHostProbe(ctx context.Context, namespace, name string, policy kubeproberv1.ProbePolicy) *kubeproberv1.Probe {
	GinkgoHelper()
	probe := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: probeSpec(policy)}
	probe.Spec.Template.HostNetwork = true
	Expect(api.Create(ctx, probe)).To(Succeed())
	return probe
}

func events(ctx context.Context, namespace, reason string) []eventsv1.Event {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(api.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	var found []eventsv1.Event
	for _, e := range list.Items {
		if e.Reason == reason {
			found = append(found, e)
		}
	}
	return found
}

var _ = Describe("A probe that needs more than Pod Security restricted", func() {
	It("runs in a namespace of its own, and one that does not stays", func(ctx SpecContext) {
		ns, elevated := enforce(ctx, podsecurity.LevelRestricted), enforce(ctx, podsecurity.LevelPrivileged)
		extra := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: kubeproberv1.ExtraConfigName}, Data: map[string]string{"REGION": "eu"}}
		Expect(api.Create(ctx, extra)).To(Succeed())
		startAgent(ns, elevateTo(elevated))
		createProbe(ctx, ns, "plain", everyMinutes(30))
		probe := createHostProbe(ctx, ns, "host", everyMinutes(30))

		By("making pods that the API server admits where they are")
		plain := theJob(ctx, ns, "plain")
		endWell(ctx, plain, startPod(ctx, plain))
		job := theJob(ctx, elevated, "host")
		Expect(job.OwnerReferences).To(BeEmpty(), "an owner reference into another namespace lets the garbage collector remove the Job")
		Expect(run.OwnerOf(job).UID).To(Equal(probe.UID))
		Expect(jobsOf(ctx, ns, "host")).To(BeEmpty())
		Expect(environmentOf(job)).To(HaveKeyWithValue("REGION", "eu"))
		Expect(environmentOf(job)).To(HaveKeyWithValue("KUBEPROBER_PROBE_NAMESPACE", ns))

		By("recording its results beside the Probe")
		pod := startPod(ctx, job)
		code, text := post(job, results("disk=PASS"))
		Expect(code).To(Equal(http.StatusOK), text)
		endWell(ctx, job, pod)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "host").Status }).Should(Equal(kubeproberv1.CheckerPass))
		Consistently(func() []batchv1.Job { return jobsOf(ctx, elevated, "host") }, "300ms").Should(HaveLen(1))

		By("leaving nothing behind when it is deleted")
		Expect(api.Delete(ctx, probe)).To(Succeed())
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, "host") }).Should(BeEmpty())
	})

	It("explains runs there that could not judge, and keeps the Jobs of the newest", func(ctx SpecContext) {
		ns, elevated := newNamespace(ctx), enforce(ctx, podsecurity.LevelPrivileged)
		startAgent(ns, elevateTo(elevated))
		probe := createHostProbe(ctx, ns, "host", kubeproberv1.ProbePolicy{})
		for i := range 5 {
			job := newestJob(ctx, elevated, "host", i+1)
			endPod(ctx, startPod(ctx, job), 3, "Error")
			endJob(ctx, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
			Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "host").History }).Should(HaveLen(i + 1))
			if i < 4 {
				changeProbe(ctx, probe)
			}
		}
		Expect(outcomeOf(ctx, ns, "host").History[0].Reason).To(Equal(run.ReasonExitCode))
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, "host") }).Should(HaveLen(2))

		By("noticing that somebody removes a Job")
		changeProbe(ctx, probe)
		job := newestJob(ctx, elevated, "host", 6)
		Expect(api.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
		Eventually(func() string { return outcomeOf(ctx, ns, "host").History[0].Reason }).Should(Equal(run.ReasonJobDeleted))
	})

	It("is removed with its owner also when that went while the agent was away", func(ctx SpecContext) {
		ns, other, elevated := newNamespace(ctx), newNamespace(ctx), enforce(ctx, podsecurity.LevelPrivileged)
		first := startAgent(ns, elevateTo(elevated))
		gone, stays := createHostProbe(ctx, ns, "gone", everyMinutes(30)), createHostProbe(ctx, ns, "stays", everyMinutes(30))
		diagnosis := createRun(ctx, ns, "1630566675", kubeproberv1.ProbeRunSpec{Probes: []kubeproberv1.RunProbe{{Name: "stays"}}}, nil)
		theJob(ctx, elevated, gone.Name)
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, stays.Name) }).Should(HaveLen(2))
		first.stop()
		neighbour := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: elevated, Name: "neighbour", Labels: map[string]string{
			kubeproberv1.ProbeLabel: "gone", run.OwnerKindLabel: "Probe", run.OwnerNamespaceLabel: other, run.OwnerUIDLabel: "of-another-agent",
		}}}
		neighbour.Spec.Template.Spec = probeSpec(everyMinutes(1)).Template
		neighbour.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
		Expect(api.Create(ctx, neighbour)).To(Succeed())
		Expect(api.Delete(ctx, gone)).To(Succeed())
		Expect(api.Delete(ctx, diagnosis)).To(Succeed())

		startAgent(ns, elevateTo(elevated))
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, "stays") }).Should(HaveLen(1))
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, "gone") }).Should(HaveLen(1))
		Expect(jobsOf(ctx, elevated, "gone")[0].Name).To(Equal("neighbour"), "the Job of another agent was removed")
		Expect(run.OwnerOf(theJob(ctx, elevated, "stays")).UID).To(Equal(stays.UID))
	})

	It("goes to every node from there", func(ctx SpecContext) {
		ns, elevated := newNamespace(ctx), enforce(ctx, podsecurity.LevelPrivileged)
		label := createNodes(ctx, ns, map[string]corev1.NodeSpec{"a": {}, "b": {}})
		startAgent(ns, elevateTo(elevated))
		probe := &kubeproberv1.Probe{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "host"},
			Spec:       probeSpec(kubeproberv1.ProbePolicy{Placement: kubeproberv1.PlaceEveryNode}),
		}
		probe.Spec.Template.HostPID, probe.Spec.Template.NodeSelector = true, label
		Expect(api.Create(ctx, probe)).To(Succeed())
		Eventually(func() []batchv1.Job { return jobsOf(ctx, elevated, "host") }).Should(HaveLen(2))
		jobs := jobsOf(ctx, elevated, "host")
		for i := range jobs {
			pod := startPod(ctx, &jobs[i])
			code, text := post(&jobs[i], results("disk=PASS"))
			Expect(code).To(Equal(http.StatusOK), text)
			endWell(ctx, &jobs[i], pod)
		}
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "host").Status }).Should(Equal(kubeproberv1.CheckerPass))
		Expect(said(outcomeOf(ctx, ns, "host").Checkers)).To(Equal([]string{"disk=PASS@" + ns + "-a", "disk=PASS@" + ns + "-b"}))
	})

	It("is UNKNOWN, with the controls and the flag, when the operator refuses such probes", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns, func(o *app.Options) { o.ElevatedProbes = runner.ElevateRefuse })
		probe := createHostProbe(ctx, ns, "host", kubeproberv1.ProbePolicy{})
		Eventually(func() string { return outcomeOf(ctx, ns, "host").Message }).Should(And(
			HavePrefix("host: ElevationRefused: "), ContainSubstring("hostNetwork=true"), ContainSubstring("--elevated-probes=Namespace")))
		Expect(outcomeOf(ctx, ns, "host").Status).To(Equal(kubeproberv1.CheckerUnknown))
		Eventually(func() []eventsv1.Event { return events(ctx, ns, run.ReasonElevationRefused) }).Should(HaveLen(1))

		By("telling a one-time diagnosis as well")
		one := createRun(ctx, ns, "1", kubeproberv1.ProbeRunSpec{Probes: []kubeproberv1.RunProbe{{Name: "host"}}}, nil)
		expectPhase(ctx, one, kubeproberv1.RunIncomplete)
		Expect(one.Status.Probes[0].Message).To(HavePrefix("ElevationRefused: "))

		By("telling it once by an Event")
		changeProbe(ctx, probe)
		Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "host").History }).Should(HaveLen(2))
		Consistently(func() []eventsv1.Event { return events(ctx, ns, run.ReasonElevationRefused) }, "500ms").Should(
			HaveExactElements(HaveField("Series", BeNil())))

		By("running what the template no longer asks more for")
		before := probe.DeepCopy()
		probe.Spec.Template.HostNetwork = false
		Expect(api.Patch(ctx, probe, client.MergeFrom(before))).To(Succeed())
		Expect(theJob(ctx, ns, "host").Annotations).To(HaveKeyWithValue(run.GenerationAnnotation, "3"))
	})

	It("is UNKNOWN when its namespace does not exist", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns, elevateTo(ns+"-absent"))
		createHostProbe(ctx, ns, "host", kubeproberv1.ProbePolicy{TimeoutSeconds: ptr.To[int32](3)})
		Eventually(func() string { return outcomeOf(ctx, ns, "host").Message }).Should(And(
			HavePrefix("host: JobRefused: "), ContainSubstring(ns+"-absent")))
	})
})
