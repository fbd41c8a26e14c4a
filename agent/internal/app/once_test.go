// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func createRun(ctx SpecContext, namespace, name string, spec kubeproberv1.ProbeRunSpec, labels map[string]string) *kubeproberv1.ProbeRun {
	GinkgoHelper()
	one := &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Spec: spec}
	Expect(api.Create(ctx, one)).To(Succeed())
	return one
}

func expectPhase(ctx SpecContext, one *kubeproberv1.ProbeRun, phase kubeproberv1.RunPhase) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(api.Get(ctx, client.ObjectKeyFromObject(one), one)).To(Succeed())
		g.Expect(one.Status.Phase).To(Equal(phase))
	}).Should(Succeed())
}

var _ = Describe("A one-time diagnosis", func() {
	It("runs each probe once, beside the schedule, and keeps its results", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		createProbe(ctx, ns, "local", everyMinutes(30))
		theJob(ctx, ns, "local")
		brought := probeSpec(kubeproberv1.ProbePolicy{})
		one := createRun(ctx, ns, "1630566675", kubeproberv1.ProbeRunSpec{Probes: []kubeproberv1.RunProbe{
			{Name: "local"}, {Name: "brought", Spec: &brought}, {Name: "absent"},
		}}, nil)
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "local") }).Should(HaveLen(2), "the schedule holds up the diagnosis")
		expectPhase(ctx, one, kubeproberv1.RunRunning)
		Expect(meta.IsStatusConditionTrue(one.Status.Conditions, kubeproberv1.ProbeRunAcceptedCondition)).To(BeTrue())

		By("storing what the probes report in the ProbeRun only")
		for _, name := range []string{"local", "brought"} {
			job := onceJob(ctx, ns, name)
			Expect(metav1.IsControlledBy(job, one)).To(BeTrue())
			pod := startPod(ctx, job)
			code, text := post(job, results("a=PASS", "b=Error:broken"))
			Expect(code).To(Equal(http.StatusOK), text)
			endWell(ctx, job, pod)
		}
		expectPhase(ctx, one, kubeproberv1.RunFailed)
		Expect(one.Status.FinishTime).NotTo(BeNil())
		Expect(one.Status.Probes).To(HaveLen(3))
		phases := map[string]kubeproberv1.RunPhase{}
		for _, p := range one.Status.Probes {
			phases[p.Name] = p.Phase
		}
		Expect(phases).To(Equal(map[string]kubeproberv1.RunPhase{
			"local": kubeproberv1.RunFailed, "brought": kubeproberv1.RunFailed, "absent": kubeproberv1.RunIncomplete,
		}))
		for _, p := range one.Status.Probes {
			if p.Name == "absent" {
				Expect(p.Message).To(HavePrefix("ProbeNotFound: "))
			} else {
				Expect(said(p.Checkers)).To(Equal([]string{"a=PASS", "b=ERROR"}))
			}
		}
		Expect(outcomeOf(ctx, ns, "local").Checkers).To(BeEmpty())

		By("refusing reports after its end")
		code, _ := post(onceJob(ctx, ns, "local"), results("a=PASS"))
		Expect(code).To(Equal(http.StatusGone))
	})

	It("runs all Probes of the namespace when it names none", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		policy := everyMinutes(1)
		policy.State = kubeproberv1.ProbeSuspended
		createProbe(ctx, ns, "x", policy)
		createProbe(ctx, ns, "y", policy)
		one := createRun(ctx, ns, "all", kubeproberv1.ProbeRunSpec{}, nil)
		for _, name := range []string{"x", "y"} {
			job := theJob(ctx, ns, name)
			pod := startPod(ctx, job)
			code, _ := post(job, results("a=PASS"))
			Expect(code).To(Equal(http.StatusOK))
			endWell(ctx, job, pod)
		}
		expectPhase(ctx, one, kubeproberv1.RunSucceeded)
	})

	It("is incomplete at once when there is nothing to run", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		one := createRun(ctx, ns, "nothing", kubeproberv1.ProbeRunSpec{}, nil)
		expectPhase(ctx, one, kubeproberv1.RunIncomplete)
		Expect(meta.FindStatusCondition(one.Status.Conditions, kubeproberv1.ProbeRunAcceptedCondition)).To(
			HaveField("Reason", kubeproberv1.ProbeRunNoProbesReason))
	})

	It("goes on where a stopped agent has left off", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		first := startAgent(ns)
		spec := probeSpec(kubeproberv1.ProbePolicy{})
		one := createRun(ctx, ns, "restart", kubeproberv1.ProbeRunSpec{Probes: []kubeproberv1.RunProbe{{Name: "p", Spec: &spec}}}, nil)
		job := theJob(ctx, ns, "p")
		pod := startPod(ctx, job)
		code, _ := post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK))
		first.stop()
		endWell(ctx, job, pod)
		startAgent(ns)
		expectPhase(ctx, one, kubeproberv1.RunSucceeded)
		Expect(said(one.Status.Probes[0].Checkers)).To(Equal([]string{"a=PASS"}))
	})

	It("is removed when its time to live is over, or when 20 newer ones are there; the master's are not", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		short := createRun(ctx, ns, "short", kubeproberv1.ProbeRunSpec{TTLSecondsAfterFinished: ptr.To[int32](1)}, nil)
		Eventually(func() bool { return apierrors.IsNotFound(api.Get(ctx, client.ObjectKeyFromObject(short), short)) }).Should(BeTrue())
		managed := createRun(ctx, ns, "managed", kubeproberv1.ProbeRunSpec{}, map[string]string{
			kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster,
		})
		for i := range kubeproberv1.MaxProbeRuns + 3 {
			createRun(ctx, ns, fmt.Sprintf("run-%d", i), kubeproberv1.ProbeRunSpec{}, nil)
		}
		Eventually(func(g Gomega) {
			list := &kubeproberv1.ProbeRunList{}
			g.Expect(api.List(ctx, list, client.InNamespace(ns))).To(Succeed())
			g.Expect(list.Items).To(HaveLen(kubeproberv1.MaxProbeRuns + 1))
		}).Should(Succeed())
		Expect(api.Get(ctx, client.ObjectKeyFromObject(managed), managed)).To(Succeed())
	})
})

var _ = Describe("Two replicas", func() {
	It("run a probe once, and both take reports", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		elect := func(o *app.Options) { o.LeaderElect = true }
		var second string
		leader := startAgent(ns, elect)
		startAgent(ns, elect, func(o *app.Options) { second = o.ReportURL })
		createProbe(ctx, ns, "k8s", everyMinutes(30))
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		code, text := postTo(second, job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK), text)
		Expect(said(outcomeOf(ctx, ns, "k8s").Checkers)).To(Equal([]string{"a=PASS"}))

		By("handing over when the leader stops")
		leader.stop()
		endWell(ctx, job, pod)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "k8s").Status }, "30s").Should(Equal(kubeproberv1.CheckerPass))
		Expect(jobsOf(ctx, ns, "k8s")).To(HaveLen(1))
	})
})

var _ = Describe("Two replicas that both believe to lead", func() {
	It("make one Job for each time that a probe is due, and record its end once", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		startAgent(ns)
		probes := map[string]*kubeproberv1.Probe{}
		for i := range 3 {
			name := fmt.Sprintf("k8s-%d", i)
			probes[name] = createProbe(ctx, ns, name, kubeproberv1.ProbePolicy{})
		}
		const runs = 3
		for generation := 1; generation <= runs; generation++ {
			for name, probe := range probes {
				job := newestJob(ctx, ns, name, generation)
				pod := startPod(ctx, job)
				code, text := post(job, results("a=PASS"))
				Expect(code).To(Equal(http.StatusOK), text)
				endWell(ctx, job, pod)
				Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, name).History }).Should(HaveLen(generation))
				if generation < runs {
					changeProbe(ctx, probe)
				}
			}
		}
		for name := range probes {
			Consistently(func(g Gomega) {
				ids := map[string]bool{}
				for _, record := range outcomeOf(ctx, ns, name).History {
					ids[record.RunID] = true
					g.Expect(record.Status).To(Equal(kubeproberv1.CheckerPass))
				}
				g.Expect(ids).To(HaveLen(runs))
			}, "300ms").Should(Succeed())
		}
	})
})

var _ = Describe("The master", func() {
	It("hears of a result and of a diagnosis within a second", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		beats := make(chan *heartbeat.Heartbeat, 100)
		master := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer GinkgoRecover()
			Expect(r.URL.Path).To(Equal(heartbeat.Path))
			Expect(r.Header.Get(heartbeat.ClusterHeader)).To(Equal("erda-cloud"))
			Expect(r.Header.Get(heartbeat.SecretHeader)).To(Equal("s3cret"))
			Expect(r.Header.Get(heartbeat.ClusterUIDHeader)).NotTo(BeEmpty())
			beat, err := heartbeat.Decode(r.Body)
			Expect(err).NotTo(HaveOccurred())
			beats <- beat
		}))
		DeferCleanup(master.Close)
		startAgent(ns, func(o *app.Options) { o.MasterAddr, o.ClusterName, o.SecretKey = master.URL, "erda-cloud", "s3cret" })
		var beat *heartbeat.Heartbeat
		Eventually(beats).Should(Receive(&beat))
		Expect(beat).To(HaveField("ProbeNamespace", ns))
		Expect(beat.K8sVersion).To(HavePrefix("v1."))
		Expect(beat.AgentVersion).To(Equal("v0.0.0-test"))

		createProbe(ctx, ns, "k8s", everyMinutes(30))
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		code, _ := post(job, results("a=PASS", "b=ERROR:broken"))
		Expect(code).To(Equal(http.StatusOK))
		endWell(ctx, job, pod)
		hear := func(what func(*heartbeat.Heartbeat) bool) time.Duration {
			began := time.Now()
			for {
				Eventually(beats).Should(Receive(&beat))
				if what(beat) {
					return time.Since(began)
				}
			}
		}
		Expect(hear(func(b *heartbeat.Heartbeat) bool {
			return len(b.Probes) == 1 && b.Probes[0].Status == kubeproberv1.CheckerError && b.Probes[0].Total == 2 && b.Probes[0].Error == 1 &&
				b.Probes[0].StaleTime != nil
		})).To(BeNumerically("<", 5*time.Second), "the heartbeat has not come with the change")

		createRun(ctx, ns, "1630566675", kubeproberv1.ProbeRunSpec{}, map[string]string{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster})
		hear(func(b *heartbeat.Heartbeat) bool {
			return len(b.Runs) == 1 && b.Runs[0].Phase == kubeproberv1.RunRunning
		})
	})
})

// onceJob is the Job that a one-time diagnosis has made of a probe.
func onceJob(ctx SpecContext, namespace, probe string) *batchv1.Job {
	GinkgoHelper()
	var found *batchv1.Job
	Eventually(func(g Gomega) {
		for _, job := range jobsOf(ctx, namespace, probe) {
			if job.Labels[kubeproberv1.ProbeRunLabel] != "" {
				found = &job
			}
		}
		g.Expect(found).NotTo(BeNil())
	}).Should(Succeed())
	return found
}
