// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// agentUnderTest is an agent that runs in this process against the API server of the suite.
type agentUnderTest struct {
	namespace string
	cancel    context.CancelFunc
	done      chan error
	health    string
}

// newNamespace makes a namespace of its own for a spec.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agent-"}}
	Expect(api.Create(ctx, ns)).To(Succeed())
	return ns.Name
}

// startAgent runs an agent until the spec ends or stop is called.
func startAgent(namespace string, change ...func(*app.Options)) *agentUnderTest {
	GinkgoHelper()
	return startAgentOn(config, namespace, change...)
}

// startAgentOn runs an agent with another configuration of its client.
func startAgentOn(config *rest.Config, namespace string, change ...func(*app.Options)) *agentUnderTest {
	GinkgoHelper()
	a := &agentUnderTest{namespace: namespace, done: make(chan error, 1), health: freeAddress()}
	reports := freeAddress()
	options := &app.Options{
		Namespace: namespace, ReportURL: "http://" + reports, ReportAddr: reports, HealthAddr: a.health, MetricsAddr: "0",
		Grace: time.Second, LogLevel: "info",
	}
	for _, c := range change {
		c(options)
	}
	log, err := app.NewLogger(options, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	go func() { a.done <- app.Run(ctx, options, rest.CopyConfig(config), "v0.0.0-test", log) }()
	DeferCleanup(a.stop)
	Eventually(func(g Gomega) {
		select {
		case err := <-a.done:
			a.cancel = nil
			StopTrying("the agent has stopped").Wrap(err).Now()
		default:
		}
		response, err := http.Get("http://" + a.health + "/readyz")
		g.Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		g.Expect(response.StatusCode).To(Equal(http.StatusOK))
	}).Should(Succeed())
	return a
}

func (a *agentUnderTest) stop() {
	GinkgoHelper()
	if a.cancel == nil {
		return
	}
	a.cancel()
	a.cancel = nil
	Eventually(a.done, 20*time.Second).Should(Receive(BeNil()))
}

// freeAddress is below the ports that the kernel gives out, which others on this machine may get before it is listened on.
func freeAddress() string {
	GinkgoHelper()
	var address string
	Eventually(func() error {
		address = fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		return listener.Close()
	}).Should(Succeed())
	return address
}

func probeSpec(policy kubeproberv1.ProbePolicy) kubeproberv1.ProbeSpec {
	return kubeproberv1.ProbeSpec{
		Policy:   policy,
		Template: corev1.PodSpec{Containers: []corev1.Container{{Name: "checker", Image: "example.test/checker:v1"}}},
	}
}

func createProbe(ctx context.Context, namespace, name string, policy kubeproberv1.ProbePolicy) *kubeproberv1.Probe {
	GinkgoHelper()
	probe := &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: probeSpec(policy)}
	Expect(api.Create(ctx, probe)).To(Succeed())
	return probe
}

// changeProbe makes a new generation of a Probe.
func changeProbe(ctx context.Context, probe *kubeproberv1.Probe) {
	GinkgoHelper()
	before := probe.DeepCopy()
	probe.Spec.Template.Containers[0].Image += "x"
	Expect(api.Patch(ctx, probe, client.MergeFrom(before))).To(Succeed())
}

// createNodes makes nodes of a spec's own, and returns the label that selects them.
func createNodes(ctx context.Context, prefix string, specs map[string]corev1.NodeSpec) map[string]string {
	GinkgoHelper()
	label := map[string]string{"suite": prefix}
	for name, spec := range specs {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: prefix + "-" + name, Labels: label}, Spec: spec}
		Expect(api.Create(ctx, node)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(api.Delete(ctx, node))).To(Succeed()) })
	}
	return label
}

func everyMinutes(n int32) kubeproberv1.ProbePolicy { return kubeproberv1.ProbePolicy{RunInterval: &n} }

// jobsOf lists the Jobs of a probe, the oldest first.
func jobsOf(ctx context.Context, namespace, probe string) []batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(api.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{kubeproberv1.ProbeLabel: probe})).To(Succeed())
	return list.Items
}

// jobOfGeneration finds the Job that was made from a generation of the Probe; nil when there is none.
func jobOfGeneration(ctx context.Context, namespace, probe string, generation int) *batchv1.Job {
	GinkgoHelper()
	for _, job := range jobsOf(ctx, namespace, probe) {
		if job.Annotations[run.GenerationAnnotation] == strconv.Itoa(generation) {
			return &job
		}
	}
	return nil
}

// theJob waits for the only Job of a probe.
func theJob(ctx context.Context, namespace, probe string) *batchv1.Job {
	GinkgoHelper()
	var job batchv1.Job
	Eventually(func(g Gomega) {
		jobs := jobsOf(ctx, namespace, probe)
		g.Expect(jobs).To(HaveLen(1))
		job = jobs[0]
	}).Should(Succeed())
	return &job
}

// startPod plays the Job controller, the scheduler and the kubelet: a pod of the Job is there and runs.
func startPod(ctx context.Context, job *batchv1.Job) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, GenerateName: job.Name + "-", Labels: job.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: *job.Spec.Template.Spec.DeepCopy(),
	}
	pod.Spec.NodeName = "node-1"
	Expect(api.Create(ctx, pod)).To(Succeed())
	setPod(ctx, pod, func(s *corev1.PodStatus) {
		s.Phase, s.StartTime = corev1.PodRunning, ptr.To(metav1.Now())
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "checker", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		}}
	})
	return pod
}

func setPod(ctx context.Context, pod *corev1.Pod, change func(*corev1.PodStatus)) {
	GinkgoHelper()
	before := pod.DeepCopy()
	change(&pod.Status)
	Expect(api.Status().Patch(ctx, pod, client.MergeFrom(before))).To(Succeed())
}

// endPod lets the container of a pod end with an exit code.
func endPod(ctx context.Context, pod *corev1.Pod, code int32, reason string) {
	GinkgoHelper()
	setPod(ctx, pod, func(s *corev1.PodStatus) {
		s.Phase = corev1.PodSucceeded
		if code != 0 {
			s.Phase = corev1.PodFailed
		}
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "checker", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: reason, FinishedAt: metav1.Now(),
			}},
		}}
	})
}

// waitIn lets the container of a pod wait for a reason.
func waitIn(ctx context.Context, pod *corev1.Pod, reason, message string) {
	GinkgoHelper()
	setPod(ctx, pod, func(s *corev1.PodStatus) {
		s.Phase = corev1.PodPending
		s.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "checker", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	})
}

// endJob plays the Job controller: the Job has ended.
func endJob(ctx context.Context, job *batchv1.Job, kind batchv1.JobConditionType, reason string) {
	GinkgoHelper()
	Expect(api.Get(ctx, client.ObjectKeyFromObject(job), job)).To(Succeed())
	before := job.DeepCopy()
	now := metav1.Now()
	job.Status.StartTime = &now
	first := batchv1.JobFailureTarget
	if kind == batchv1.JobComplete {
		first = batchv1.JobSuccessCriteriaMet
		job.Status.CompletionTime = &now
		job.Status.Succeeded = 1
	}
	for _, t := range []batchv1.JobConditionType{first, kind} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: t, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now,
		})
	}
	Expect(api.Status().Patch(ctx, job, client.MergeFrom(before))).To(Succeed())
}

// endWell ends a run in success.
func endWell(ctx context.Context, job *batchv1.Job, pod *corev1.Pod) {
	GinkgoHelper()
	endPod(ctx, pod, 0, "Completed")
	endJob(ctx, job, batchv1.JobComplete, "CompletionsReached")
}

// environmentOf is the plain environment of the first container of a Job.
func environmentOf(job *batchv1.Job) map[string]string {
	env := map[string]string{}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
	}
	return env
}

// post sends a report to the URL of a Job as a checker does, and returns the answer.
func post(job *batchv1.Job, body string) (code int, text string) {
	GinkgoHelper()
	return postTo("", job, body)
}

// postTo sends it to another replica than the URL names.
func postTo(base string, job *batchv1.Job, body string) (code int, text string) {
	GinkgoHelper()
	target, err := url.Parse(environmentOf(job)[report.EnvReportURL])
	Expect(err).NotTo(HaveOccurred())
	if base != "" {
		other, err := url.Parse(base)
		Expect(err).NotTo(HaveOccurred())
		target.Host = other.Host
	}
	response, err := http.Post(target.String(), "application/json", strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, strings.TrimSpace(string(data))
}

// results is the body of a report with `name=STATUS` or `name=STATUS:message` each.
func results(checkers ...string) string {
	var r report.Report
	for _, c := range checkers {
		name, rest, _ := strings.Cut(c, "=")
		status, message, _ := strings.Cut(rest, ":")
		r.Checkers = append(r.Checkers, report.Checker{Name: name, Status: kubeproberv1.CheckerStatus(status), Message: message})
	}
	var buffer bytes.Buffer
	if err := json.NewEncoder(&buffer).Encode(r); err != nil {
		panic(err)
	}
	return buffer.String()
}

// outcomeOf reads the ProbeStatus of a probe; empty when there is none.
func outcomeOf(ctx context.Context, namespace, probe string) kubeproberv1.ProbeOutcome {
	GinkgoHelper()
	status := &kubeproberv1.ProbeStatus{}
	err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: probe}, status)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	return status.Status
}

// said tells the results as `name=STATUS`, with `@node` where there is one.
func said(checkers []kubeproberv1.CheckerResult) []string {
	var list []string
	for _, c := range checkers {
		text := fmt.Sprintf("%s=%s", c.Name, c.Status)
		if c.Node != "" {
			text += "@" + c.Node
		}
		list = append(list, text)
	}
	return list
}
