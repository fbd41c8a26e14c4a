// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// ending is how a container ends: no kubelet is there to read its log from, so it leaves a termination message.
type ending struct {
	container string
	code      int32
	message   string
}

// endContainers lets the containers of a pod end, and with them the pod.
func endContainers(ctx SpecContext, pod *corev1.Pod, endings ...ending) {
	GinkgoHelper()
	setPod(ctx, pod, func(s *corev1.PodStatus) {
		s.Phase, s.ContainerStatuses = corev1.PodSucceeded, nil
		for _, e := range endings {
			if e.code != 0 {
				s.Phase = corev1.PodFailed
			}
			s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
				Name: e.container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					ExitCode: e.code, Message: e.message, FinishedAt: metav1.Now(),
				}},
			})
		}
	})
}

// resultsOf waits for the end of the only run of a probe, and tells its results with their messages.
func resultsOf(ctx SpecContext, namespace, probe string) []string {
	GinkgoHelper()
	Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, namespace, probe).History }).Should(HaveLen(1))
	var list []string
	for _, c := range outcomeOf(ctx, namespace, probe).Checkers {
		list = append(list, fmt.Sprintf("%s=%s:%s", c.Name, c.Status, c.Message))
	}
	return list
}

var _ = Describe("A checker", func() {
	DescribeTable("is understood by what it does",
		func(ctx SpecContext, send func(SpecContext, *batchv1.Job), endings []ending, want ...string) {
			ns := newNamespace(ctx)
			startAgent(ns)
			createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
			job := theJob(ctx, ns, "k8s")
			pod := startPod(ctx, job)
			if send != nil {
				send(ctx, job)
			}
			endContainers(ctx, pod, endings...)
			got := resultsOf(ctx, ns, "k8s")
			Expect(got).To(HaveLen(len(want)), "%q", got)
			for i := range want {
				Expect(got[i]).To(HavePrefix(want[i]))
			}
		},
		Entry("exit code 0", nil, []ending{{"checker", 0, "all is well"}}, "checker=PASS:all is well"),
		Entry("exit code 1", nil, []ending{{"checker", 1, "dns\nis down"}}, "checker=ERROR:is down"),
		Entry("exit code 2", nil, []ending{{"checker", 2, "no rights"}}, "checker=UNKNOWN:no rights"),
		Entry("exit code 3", nil, []ending{{"checker", 3, "what"}}, "k8s=UNKNOWN:NonZeroExit: container checker ended with exit code 3: what"),
		Entry("lines", nil, []ending{{"checker", 0, "dns ok\netcd Error down\nbye"}}, "dns=PASS:", "etcd=ERROR:down"),
		Entry("several containers", nil, []ending{{"a", 0, "fine"}, {"b", 1, "broken"}}, "a=PASS:fine", "b=ERROR:broken"),
		Entry("a report before its exit code", reports(http.StatusOK, results("dns=WARN:slow")), []ending{{"checker", 0, "etcd error down"}}, "dns=WARN:slow"),
		Entry("a report and a bad end", reports(http.StatusOK, results("dns=PASS")), []ending{{"checker", 1, "panic"}},
			"dns=PASS:", "k8s=UNKNOWN:NonZeroExit: container checker ended with exit code 1: panic"),
		Entry("a refused report before its exit code", reports(http.StatusBadRequest, "garbage"), []ending{{"checker", 1, "400 Bad Request"}},
			"k8s=UNKNOWN:NoReport: no report was taken, and one was refused: 400 parsing report: invalid character 'g'"),
		Entry("a refused report before its lines", reports(http.StatusForbidden, `{"probeName":"host","checkers":[{"name":"a","status":"PASS"}]}`),
			[]ending{{"checker", 0, "dns ok"}}, "k8s=UNKNOWN:NoReport: no report was taken, and one was refused: 403"),
		Entry("a good report after a refused one", func(ctx SpecContext, job *batchv1.Job) {
			reports(http.StatusBadRequest, `{"checkers":[{"name":"a","status":"GREEN"}]}`)(ctx, job)
			reports(http.StatusOK, results("a=PASS"))(ctx, job)
		}, []ending{{"checker", 0, "a error x"}}, "a=PASS:"),
		Entry("Kuberhealthy's report", kuberhealthy(http.StatusOK, `{"OK":false,"Errors":["dns is down"]}`), []ending{{"checker", 0, ""}}, "k8s=ERROR:dns is down"),
		Entry("a refused one of Kuberhealthy's", kuberhealthy(http.StatusBadRequest, `{"ok":false,"errors":[]}`), []ending{{"checker", 1, "bad status 400"}},
			"k8s=UNKNOWN:NoReport: no report was taken, and one was refused: 400 validating Kuberhealthy report: ok is false"),
		Entry("both kinds of report", func(ctx SpecContext, job *batchv1.Job) {
			kuberhealthy(http.StatusOK, `{"ok":true}`)(ctx, job)
			reports(http.StatusOK, results("dns=PASS"))(ctx, job)
		}, []ending{{"checker", 0, "x"}}, "dns=PASS:", "k8s=PASS:"),
	)

	It("does not escape its failure threshold by another contract", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "flaky", kubeproberv1.ProbePolicy{FailureThreshold: ptr.To[int32](2)})
		for i, want := range []string{"checker=WARN", "checker=ERROR", "checker=PASS"} {
			job := newestJob(ctx, ns, "flaky", i+1)
			code := int32(1)
			if i == 2 {
				code = 0
			}
			endContainers(ctx, startPod(ctx, job), ending{"checker", code, "said"})
			Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "flaky").History }).Should(HaveLen(i + 1))
			Expect(said(outcomeOf(ctx, ns, "flaky").Checkers)).To(Equal([]string{want}), "run %d", i+1)
			if code != 0 {
				endJob(ctx, job, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
			} else {
				endJob(ctx, job, batchv1.JobComplete, "CompletionsReached")
			}
			changeProbe(ctx, probe)
		}
	})

	It("that is no longer there is named in the history", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
		for i, message := range []string{"dns ok\netcd ok", "dns ok"} {
			job := newestJob(ctx, ns, "k8s", i+1)
			endContainers(ctx, startPod(ctx, job), ending{"checker", 0, message})
			Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "k8s").History }).Should(HaveLen(i + 1))
			endJob(ctx, job, batchv1.JobComplete, "CompletionsReached")
			changeProbe(ctx, probe)
		}
		outcome := outcomeOf(ctx, ns, "k8s")
		Expect(said(outcome.Checkers)).To(Equal([]string{"dns=PASS"}))
		Expect(outcome.History[0].Message).To(Equal("no longer reported: etcd"))
	})
})

// reports sends a report and expects an answer.
func reports(code int, body string) func(SpecContext, *batchv1.Job) {
	return func(_ SpecContext, job *batchv1.Job) {
		GinkgoHelper()
		got, text := post(job, body)
		Expect(got).To(Equal(code), text)
	}
}

// kuberhealthy does so as a client of Kuberhealthy.
func kuberhealthy(code int, body string) func(SpecContext, *batchv1.Job) {
	return func(ctx SpecContext, job *batchv1.Job) {
		GinkgoHelper()
		env := environmentOf(job)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, env[report.EnvKuberhealthyURL], strings.NewReader(body))
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("kh-run-uuid", env[report.EnvKuberhealthyRunUUID])
		response, err := http.DefaultClient.Do(request)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		Expect(err).NotTo(HaveOccurred())
		Expect(response.StatusCode).To(Equal(code), "%s", text)
	}
}

var _ = Describe("Bad input", func() {
	DescribeTable("in a template",
		func(ctx SpecContext, change func(*kubeproberv1.ProbeSpec), check func(*batchv1.Job)) {
			ns := newNamespace(ctx)
			startAgent(ns)
			probe := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "k8s"}, Spec: probeSpec(everyMinutes(30))}
			change(&probe.Spec)
			Expect(api.Create(ctx, probe)).To(Succeed())
			job := theJob(ctx, ns, "k8s")
			check(job)
			endContainers(ctx, startPod(ctx, job), ending{"checker", 0, "fine"})
			Expect(resultsOf(ctx, ns, "k8s")).To(Equal([]string{"checker=PASS:fine"}))
		},
		Entry("volumes stay as they are", func(spec *kubeproberv1.ProbeSpec) {
			spec.Template.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			spec.Template.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
		}, func(job *batchv1.Job) {
			Expect(job.Spec.Template.Spec.Volumes).To(ContainElement(HaveField("Name", "tmp")))
			Expect(job.Spec.Template.Spec.Containers[0].VolumeMounts).To(HaveLen(1))
		}),
		Entry("init containers and sidecars get the environment, and are not asked", func(spec *kubeproberv1.ProbeSpec) {
			spec.Template.InitContainers = []corev1.Container{
				{Name: "prepare", Image: "example.test/prepare:v1"},
				{Name: "proxy", Image: "example.test/proxy:v1", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)},
			}
		}, func(job *batchv1.Job) {
			for _, c := range job.Spec.Template.Spec.InitContainers {
				Expect(c.Env).To(ContainElement(HaveField("Name", report.EnvReportURL)), c.Name)
			}
			Expect(job.Spec.Template.Spec.InitContainers[1].RestartPolicy).To(HaveValue(Equal(corev1.ContainerRestartPolicyAlways)))
		}),
		Entry("several containers all get the environment", func(spec *kubeproberv1.ProbeSpec) {
			spec.Template.Containers = append(spec.Template.Containers, corev1.Container{Name: "second", Image: "example.test/second:v1"})
		}, func(job *batchv1.Job) {
			Expect(job.Spec.Template.Spec.Containers[1].Env).To(ContainElement(HaveField("Name", report.EnvReportURL)))
		}),
		Entry("a service account of its own", func(spec *kubeproberv1.ProbeSpec) { spec.Template.ServiceAccountName = "own" }, func(job *batchv1.Job) {
			Expect(job.Spec.Template.Spec.ServiceAccountName).To(Equal("own"))
		}),
		Entry("restartPolicy OnFailure is one attempt", func(spec *kubeproberv1.ProbeSpec) { spec.Template.RestartPolicy = corev1.RestartPolicyOnFailure },
			func(job *batchv1.Job) {
				Expect(job.Spec.Template.Spec.RestartPolicy).To(Equal(corev1.RestartPolicyNever))
				Expect(job.Spec.BackoffLimit).To(HaveValue(BeZero()))
			}),
	)

	It("is a restartPolicy of Always: the API server refuses it with the reason", func(ctx SpecContext) {
		probe := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(ctx), Name: "k8s"}, Spec: probeSpec(everyMinutes(30))}
		probe.Spec.Template.RestartPolicy = corev1.RestartPolicyAlways
		Expect(api.Create(ctx, probe)).To(MatchError(ContainSubstring("a probe runs to its end")))
	})

	It("is a name: 63 characters are good, more are refused", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		name := strings.Repeat("n", 63)
		createProbe(ctx, ns, name, kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, name)
		Expect(len(job.Name)).To(BeNumerically("<=", 57))
		pod := startPod(ctx, job)
		code, text := post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK), text)
		endWell(ctx, job, pod)
		Expect(resultsOf(ctx, ns, name)).To(Equal([]string{"a=PASS:"}))

		long := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name + "n"}, Spec: probeSpec(kubeproberv1.ProbePolicy{})}
		Expect(apierrors.IsInvalid(api.Create(ctx, long))).To(BeTrue())
	})

	It("is a Probe that is changed during a run: the run goes on with the old template, the next has the new", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		changeProbe(ctx, probe)
		code, text := post(job, results("a=PASS"))
		Expect(code).To(Equal(http.StatusOK), text)
		endWell(ctx, job, pod)
		next := newestJob(ctx, ns, "k8s", 2)
		Expect(next.Spec.Template.Spec.Containers[0].Image).To(HaveSuffix("x"))
		Expect(job.Spec.Template.Spec.Containers[0].Image).NotTo(HaveSuffix("x"))
		Expect(resultsOf(ctx, ns, "k8s")).To(Equal([]string{"a=PASS:"}))
	})

	It("is a Probe that is deleted during a run: its reports are refused, and nothing is recorded", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", kubeproberv1.ProbePolicy{})
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		Expect(api.Delete(ctx, probe)).To(Succeed())
		// The garbage collector is not there to take the rest along.
		Expect(client.IgnoreNotFound(api.Delete(ctx, &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "k8s"}}))).To(Succeed())
		Eventually(func() int {
			code, _ := post(job, results("a=PASS"))
			return code
		}).Should(Equal(http.StatusGone))
		endContainers(ctx, pod, ending{"checker", 1, "410 Gone"})
		Consistently(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "k8s").History }, "500ms").Should(BeEmpty())
	})

	It("is a Job for one node that somebody deletes: that node is explained", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		label := map[string]string{"suite": ns}
		for _, name := range []string{"a", "b", "c"} {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + name, Labels: label}}
			Expect(api.Create(ctx, node)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, node)).To(Succeed()) })
		}
		startAgent(ns)
		probe := &kubeproberv1.Probe{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "every"}, Spec: probeSpec(kubeproberv1.ProbePolicy{Placement: kubeproberv1.PlaceEveryNode}),
		}
		probe.Spec.Template.NodeSelector = label
		Expect(api.Create(ctx, probe)).To(Succeed())
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "every") }).Should(HaveLen(3))
		var pods []*corev1.Pod
		jobs := jobsOf(ctx, ns, "every")
		for i := range jobs {
			if jobs[i].Annotations[run.NodeAnnotation] != ns+"-b" {
				pods = append(pods, startPod(ctx, &jobs[i]))
			}
		}
		Expect(pods).To(HaveLen(2))
		removeJobs := func() {
			for _, job := range jobsOf(ctx, ns, "every") {
				if job.Annotations[run.NodeAnnotation] == ns+"-b" {
					Expect(client.IgnoreNotFound(api.Delete(ctx, &job, client.PropagationPolicy(metav1.DeletePropagationBackground)))).To(Succeed())
				}
			}
		}
		removeJobs()
		for _, pod := range pods {
			endContainers(ctx, pod, ending{"disk", 0, "70% used"})
		}
		Eventually(func() []string {
			// While the agent does not know that all Jobs of the run are made, it makes one that is not there.
			removeJobs()
			return said(outcomeOf(ctx, ns, "every").Checkers)
		}).Should(Equal([]string{"disk=PASS@" + ns + "-a", "disk=PASS@" + ns + "-c", "every=UNKNOWN@" + ns + "-b"}))
		Expect(outcomeOf(ctx, ns, "every").Message).To(HavePrefix("every on " + ns + "-b: JobDeleted: the Job for this node was removed"))
	})
})
