// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// settable is a clock that goes on as the real one does, from where it is set.
type settable struct{ offset atomic.Int64 }

func (c *settable) Now() time.Time                  { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *settable) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// set moves the clock to a time.
func (c *settable) set(to time.Time) { c.offset.Store(int64(time.Until(to))) }

// finishNext waits for a Job of a probe that is not among those seen, ends it well, and waits until that is recorded.
func finishNext(ctx SpecContext, namespace, probe string, seen map[string]bool) *batchv1.Job {
	GinkgoHelper()
	var job *batchv1.Job
	Eventually(func(g Gomega) {
		job = nil
		for _, j := range jobsOf(ctx, namespace, probe) {
			if !seen[j.Name] {
				job = &j
			}
		}
		g.Expect(job).NotTo(BeNil(), "no new run is started")
	}).Should(Succeed())
	seen[job.Name] = true
	pod := startPod(ctx, job)
	code, text := post(job, results("a=PASS"))
	Expect(code).To(Equal(200), text)
	endWell(ctx, job, pod)
	Eventually(func() string { return outcomeOf(ctx, namespace, probe).LastRunID }).Should(Equal(job.Labels[kubeproberv1.RunIDLabel]))
	return job
}

// expectNoRun makes the agent look at a probe again, and finds no run beside those seen.
func expectNoRun(ctx SpecContext, probe *kubeproberv1.Probe, seen map[string]bool) {
	GinkgoHelper()
	changeProbe(ctx, probe)
	Consistently(func(g Gomega) {
		for _, job := range jobsOf(ctx, probe.Namespace, probe.Name) {
			g.Expect(seen).To(HaveKey(job.Name), "a run is started that is not due")
		}
	}, "500ms").Should(Succeed())
}

var _ = Describe("A clock that is set", func() {
	It("starts one run and no storm, forward and backward, with an interval", func(ctx SpecContext) {
		ns, clock, seen := newNamespace(ctx), &settable{}, map[string]bool{}
		startAgent(ns, func(o *app.Options) { o.Clock = clock })
		probe := createProbe(ctx, ns, "k8s", everyMinutes(30))
		finishNext(ctx, ns, "k8s", seen)
		expectNoRun(ctx, probe, seen)

		By("setting it forward by ten hours")
		clock.set(time.Now().Add(10 * time.Hour))
		changeProbe(ctx, probe)
		finishNext(ctx, ns, "k8s", seen)
		expectNoRun(ctx, probe, seen)

		By("setting it back, while the Job of the future is still there")
		clock.set(time.Now())
		changeProbe(ctx, probe)
		finishNext(ctx, ns, "k8s", seen)
		for range 3 {
			expectNoRun(ctx, probe, seen)
		}
		Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
		Expect(probe.Status.LastRunTime.Time).To(BeTemporally("~", time.Now(), time.Minute))
		Expect(probe.Status.NextRunTime.Time).To(BeTemporally("~", time.Now().Add(30*time.Minute), time.Minute))
	})

	It("does not run a time of a schedule twice", func(ctx SpecContext) {
		ns, clock, seen := newNamespace(ctx), &settable{}, map[string]bool{}
		berlin, err := time.LoadLocation("Europe/Berlin")
		Expect(err).NotTo(HaveOccurred())
		tomorrow := time.Now().In(berlin).AddDate(0, 0, 1)
		six := time.Date(tomorrow.Year(), tomorrow.Month(), tomorrow.Day(), 6, 0, 0, 0, berlin)
		startAgent(ns, func(o *app.Options) { o.Clock = clock })
		clock.set(six.Add(-time.Hour))
		probe := createProbe(ctx, ns, "daily", kubeproberv1.ProbePolicy{Schedule: ptr.To("0 6 * * *"), TimeZone: ptr.To("Europe/Berlin")})
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			g.Expect(probe.Status.NextRunTime).NotTo(BeNil())
		}).Should(Succeed())

		By("running what was due while it was set forward")
		clock.set(six.Add(time.Hour))
		changeProbe(ctx, probe)
		job := finishNext(ctx, ns, "daily", seen)
		Expect(job.Annotations).To(HaveKeyWithValue(run.DueAnnotation, six.UTC().Format(time.RFC3339)))
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			g.Expect(probe.Status.LastRunTime.Time).To(BeTemporally("==", six))
			g.Expect(probe.Status.NextRunTime.In(berlin).Format("15:04")).To(Equal("06:00"))
		}).Should(Succeed())

		By("setting it back by half an hour less than a run ago, and letting the same time come again")
		clock.set(six.Add(-30 * time.Second))
		expectNoRun(ctx, probe, seen)
		clock.set(six.Add(time.Minute))
		expectNoRun(ctx, probe, seen)
		Expect(outcomeOf(ctx, ns, "daily").History).To(HaveLen(1))
	})

	It("runs a probe that was made in what is the future now", func(ctx SpecContext) {
		ns, clock := newNamespace(ctx), &settable{}
		clock.set(time.Now().Add(-24 * time.Hour))
		startAgent(ns, func(o *app.Options) { o.Clock = clock })
		probe := createProbe(ctx, ns, "k8s", everyMinutes(30))
		finishNext(ctx, ns, "k8s", map[string]bool{})
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			g.Expect(probe.Status.NextRunTime).NotTo(BeNil())
			g.Expect(probe.Status.NextRunTime.Time).To(BeTemporally("~", clock.Now().Add(30*time.Minute), time.Minute))
		}).Should(Succeed())
	})
})
