// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// fate is what happens to the pod of a run.
type fate struct {
	// verdict is what the checker reports; empty when it does not.
	verdict kubeproberv1.CheckerStatus
	// output is what the checker writes; it is its word when it does not report.
	output string
	// said is what the output and the exit code mean; empty when nothing or when it reports.
	said   kubeproberv1.CheckerStatus
	exit   int32
	reason string
}

// fates are drawn from by weight.
var fates = []struct {
	weight int
	fate
}{
	{60, fate{verdict: kubeproberv1.CheckerPass, reason: "Completed"}},
	{12, fate{verdict: kubeproberv1.CheckerError, reason: "Completed"}},
	{8, fate{exit: 137, reason: "OOMKilled"}},
	{5, fate{reason: "Completed"}},
	{5, fate{reason: "Completed", output: "all is well\n", said: kubeproberv1.CheckerPass}},
	{5, fate{exit: 1, reason: "Error", output: "it is broken\n", said: kubeproberv1.CheckerError}},
	{5, fate{verdict: kubeproberv1.CheckerPass, exit: 3, reason: "Error", output: "it went wrong\n"}},
}

// play is the life of one Job, as far as Kubernetes and the checker in its pod lead it. The ledger's lock guards it.
type play struct {
	job     *batchv1.Job
	slot    *slot
	account *account
	fate    fate
	pod     *corev1.Pod
	// starts, reports and ends are when the next things happen; killed is when the Job's time is over.
	starts, reports, ends, killed time.Time
	reported                      bool
	// over tells that the pod ends, finished that Kubernetes is done with the Job, gone that the Job is removed, and cleared that
	// its pod is, too.
	over, finished, gone, cleared bool
}

// underWay tells whether the run goes on: its pod has not ended, and nobody has stopped it. The caller holds the lock.
func (p *play) underWay() bool { return !p.over && !p.finished && !p.stopped() }

// stopped tells whether the agent has given the run up.
func (p *play) stopped() bool { return ptr.Deref(p.job.Spec.ActiveDeadlineSeconds, 0) == 1 }

// cluster plays what an API server alone does not do: the Job controller, the scheduler, the kubelet, the garbage collector and
// the checkers.
type cluster struct {
	api    client.Client
	ledger *ledger
	seed   uint64
	// receivers are the addresses of the agents that take reports.
	receivers func() []string
	client    *http.Client
	now       time.Time
}

const (
	nodeName      = "node-1"
	podSuffix     = "-pod"
	actsAtOnce    = 16
	reportTimeout = 30 * time.Second
)

// begin draws the fate of a Job by its name, so that it does not depend on who is how fast.
func (c *cluster) begin(job *batchv1.Job, s *slot) *play {
	h := fnv.New64a()
	h.Write([]byte(job.Name))
	rng := rand.New(rand.NewPCG(c.seed, h.Sum64()))
	p := &play{job: job, slot: s}
	total := 0
	for _, f := range fates {
		total += f.weight
	}
	at := rng.IntN(total)
	for _, f := range fates {
		if at < f.weight {
			p.fate = f.fate
			break
		}
		at -= f.weight
	}
	within := func(seconds int) time.Duration { return time.Duration(rng.IntN(seconds*1000)) * time.Millisecond }
	p.starts = c.now.Add(within(2))
	p.reports = p.starts.Add(time.Second + within(8))
	p.ends = p.reports.Add(within(8))
	p.killed = c.now.Add(time.Duration(ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0)) * time.Second)
	return p
}

// act does everything that is due at a time, and returns when it is done.
func (c *cluster) act(ctx context.Context, now time.Time) error {
	c.ledger.mu.Lock()
	c.now = now
	var acts []func(context.Context) error
	for _, p := range c.ledger.plays {
		if act := c.next(p); act != nil {
			acts = append(acts, func(ctx context.Context) error { return act(ctx, p) })
		}
	}
	c.ledger.mu.Unlock()
	var group sync.WaitGroup
	slots := make(chan struct{}, actsAtOnce)
	errs := make([]error, len(acts))
	for i, act := range acts {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = act(ctx)
		})
	}
	group.Wait()
	if len(acts) > 0 {
		c.ledger.notify()
	}
	return errors.Join(errs...)
}

// next is what is to be done with a play now; nil when there is nothing. The caller holds the lock.
func (c *cluster) next(p *play) func(context.Context, *play) error {
	switch {
	case p.gone && !p.cleared:
		return c.collect
	case p.finished:
		return nil
	case p.stopped() || c.now.After(p.killed):
		return c.kill
	case p.pod == nil && !c.now.Before(p.starts):
		return c.startPod
	case p.pod != nil && p.fate.verdict != "" && !p.reported && !c.now.Before(p.reports):
		return c.report
	case p.pod != nil && (p.reported || p.fate.verdict == "") && !c.now.Before(p.ends):
		return c.endPod
	}
	return nil
}

// collect is the garbage collector: pods go after their Job.
func (c *cluster) collect(ctx context.Context, p *play) error {
	if p.pod != nil {
		if err := c.api.Delete(ctx, p.pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("collecting pod %s: %w", p.pod.Name, err)
		}
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	p.cleared = true
	return nil
}

func (c *cluster) startPod(ctx context.Context, p *play) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.job.Namespace, Name: p.job.Name + podSuffix, Labels: p.job.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(p.job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: *p.job.Spec.Template.Spec.DeepCopy(),
	}
	pod.Spec.NodeName = nodeName
	if err := c.api.Create(ctx, pod); err != nil {
		return fmt.Errorf("making the pod of Job %s: %w", p.job.Name, err)
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.now)}}
	if err := c.setPod(ctx, pod, corev1.PodRunning, running); err != nil {
		return err
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	p.pod = pod
	return nil
}

func (c *cluster) setPod(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState) error {
	before := pod.DeepCopy()
	pod.Status.Phase, pod.Status.StartTime = phase, ptr.To(metav1.NewTime(c.now))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: containerName, State: state}}
	if err := c.api.Status().Patch(ctx, pod, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("setting the status of pod %s: %w", pod.Name, err)
	}
	return nil
}

func (c *cluster) endPod(ctx context.Context, p *play) error {
	phase, kind, reason := corev1.PodSucceeded, batchv1.JobComplete, "CompletionsReached"
	if p.fate.exit != 0 {
		phase, kind, reason = corev1.PodFailed, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded
	}
	c.ledger.mu.Lock()
	p.over = true
	if p.fate.said != "" {
		p.slot.told = p.fate.said
	}
	c.ledger.mu.Unlock()
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: p.fate.exit, Reason: p.fate.reason, FinishedAt: metav1.NewTime(c.now)}}
	if err := c.setPod(ctx, p.pod, phase, ended); err != nil {
		return err
	}
	return c.endJob(ctx, p, kind, reason)
}

// kill is the Job controller when the time of a Job is over.
func (c *cluster) kill(ctx context.Context, p *play) error {
	c.ledger.mu.Lock()
	p.over = true
	c.ledger.mu.Unlock()
	if p.pod != nil {
		if err := c.api.Delete(ctx, p.pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("killing pod %s: %w", p.pod.Name, err)
		}
	}
	return c.endJob(ctx, p, batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)
}

func (c *cluster) endJob(ctx context.Context, p *play, kind batchv1.JobConditionType, reason string) error {
	before, now := p.job, metav1.NewTime(c.now)
	job := before.DeepCopy()
	job.Status.StartTime = &now
	first := batchv1.JobFailureTarget
	if kind == batchv1.JobComplete {
		first, job.Status.CompletionTime, job.Status.Succeeded = batchv1.JobSuccessCriteriaMet, &now, 1
	}
	for _, t := range []batchv1.JobConditionType{first, kind} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: t, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now,
		})
	}
	if err := c.api.Status().Patch(ctx, job, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("ending Job %s: %w", job.Name, err)
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ledger.finish(p)
	return nil
}

// report is the checker: it posts to the URL that its environment has, and tries again until it is answered for good.
func (c *cluster) report(ctx context.Context, p *play) error {
	receivers := c.receivers()
	if len(receivers) == 0 {
		return nil
	}
	target, err := url.Parse(environmentOf(p.job)[report.EnvReportURL])
	if err != nil {
		return fmt.Errorf("reading the report URL of Job %s: %w", p.job.Name, err)
	}
	// As the Service does.
	target.Host = receivers[rand.N(len(receivers))]
	body, err := json.Marshal(report.Report{Checkers: []report.Checker{{Name: "checker", Status: p.fate.verdict, Message: "as drawn"}}})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		// The agent has crashed: another attempt follows.
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		// It has crashed in the middle of its answer.
		return nil
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	switch response.StatusCode {
	case http.StatusOK:
		p.reported, p.slot.told = true, p.fate.verdict
	case http.StatusGone:
		p.reported = true
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
	default:
		c.ledger.fault("the report of Job %s was answered %d %s", p.job.Name, response.StatusCode, said)
	}
	return nil
}

// serveLogs is the kubelet of the only node, as far as it serves the logs of containers.
func (c *cluster) serveLogs(ctx context.Context) (*httptest.Server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		job := strings.TrimSuffix(r.PathValue("pod"), podSuffix)
		c.ledger.mu.Lock()
		var output string
		for _, p := range c.ledger.plays {
			if p.job.Name == job {
				output = p.fate.output
			}
		}
		c.ledger.mu.Unlock()
		// An agent that has crashed does not read it.
		_, _ = io.WriteString(w, output)
	})
	kubelet := httptest.NewTLSServer(mux)
	address, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	if err != nil {
		return kubelet, err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return kubelet, err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if err := c.api.Create(ctx, node); err != nil {
		return kubelet, fmt.Errorf("making node %s: %w", nodeName, err)
	}
	before := node.DeepCopy()
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if err := c.api.Status().Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return kubelet, fmt.Errorf("setting the address of node %s: %w", nodeName, err)
	}
	return kubelet, nil
}

// environmentOf is the plain environment of the first container of a Job.
func environmentOf(job *batchv1.Job) map[string]string {
	env := map[string]string{}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
	}
	return env
}
