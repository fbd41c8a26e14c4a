// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	containerName = "checker"
	playsAtOnce   = 8
	postTimeout   = 30 * time.Second
)

// nodeless plays what an API server alone does not do: the Job controller, the scheduler, the kubelet and the checkers.
type nodeless struct{ api client.WithWatch }

// runAll lets the Jobs of the namespace run as they are made, until so many of them have ended.
func (n *nodeless) runAll(ctx context.Context, count, checkers int) error {
	watcher, err := n.api.Watch(ctx, &batchv1.JobList{}, client.InNamespace(namespace))
	if err != nil {
		return fmt.Errorf("watching Jobs: %w", err)
	}
	defer watcher.Stop()
	var group sync.WaitGroup
	slots := make(chan struct{}, playsAtOnce)
	errs := make([]error, count)
	seen := map[types.UID]bool{}
	for len(seen) < count {
		select {
		case <-ctx.Done():
			group.Wait()
			return fmt.Errorf("waiting for %d Jobs, with %d there: %w", count, len(seen), errors.Join(errors.Join(errs...), ctx.Err()))
		case event, open := <-watcher.ResultChan():
			job, ok := event.Object.(*batchv1.Job)
			if !open || !ok {
				group.Wait()
				return fmt.Errorf("watching Jobs: the watch has ended: %w", errors.Join(errs...))
			}
			if seen[job.UID] {
				continue
			}
			at := len(seen)
			seen[job.UID] = true
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				errs[at] = n.play(ctx, job, checkers)
			})
		}
	}
	group.Wait()
	return errors.Join(errs...)
}

// play lets one Job run well, with so many checkers in its report.
func (n *nodeless) play(ctx context.Context, job *batchv1.Job, checkers int) error {
	pod, err := n.startPod(ctx, job)
	if err != nil {
		return err
	}
	var results []report.Checker
	for i := range checkers {
		results = append(results, report.Checker{
			Name: fmt.Sprintf("checker-%02d", i), Status: kubeproberv1.CheckerPass,
			Message: fmt.Sprintf("endpoint %d answered in 12 ms, and its certificate is good for another 61 days", i),
		})
	}
	if err := post(ctx, job, results); err != nil {
		return err
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()}}
	if err := n.setPod(ctx, pod, corev1.PodSucceeded, ended); err != nil {
		return err
	}
	return n.endJob(ctx, job)
}

func (n *nodeless) startPod(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: job.Name + "-x7k2p", Labels: job.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: *job.Spec.Template.Spec.DeepCopy(),
	}
	pod.Spec.NodeName = "node-1"
	if err := n.api.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("making the pod of Job %s: %w", job.Name, err)
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	return pod, n.setPod(ctx, pod, corev1.PodRunning, running)
}

func (n *nodeless) setPod(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState) error {
	before := pod.DeepCopy()
	pod.Status.Phase, pod.Status.StartTime = phase, ptr.To(metav1.Now())
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: containerName, Image: "example.test/checker:v1", State: state}}
	if err := n.api.Status().Patch(ctx, pod, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("setting the status of pod %s: %w", pod.Name, err)
	}
	return nil
}

func (n *nodeless) endJob(ctx context.Context, job *batchv1.Job) error {
	before, now := job.DeepCopy(), metav1.Now()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: "CompletionsReached", LastTransitionTime: now,
		})
	}
	if err := n.api.Status().Patch(ctx, job, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("ending Job %s: %w", job.Name, err)
	}
	return nil
}

// checkerClient keeps its connection, as a checker that reports several times does.
var checkerClient = &http.Client{Timeout: postTimeout}

// post reports to the URL that the Job gives to its checker.
func post(ctx context.Context, job *batchv1.Job, results []report.Checker) error {
	var url string
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if v.Name == report.EnvReportURL {
			url = v.Value
		}
	}
	body, err := json.Marshal(report.Report{Checkers: results})
	if err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making the report of Job %s: %w", job.Name, err)
	}
	response, err := checkerClient.Do(request)
	if err != nil {
		return fmt.Errorf("sending the report of Job %s: %w", job.Name, err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("reading the answer to the report of Job %s: %w", job.Name, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("sending the report of Job %s: it is answered %d %s", job.Name, response.StatusCode, bytes.TrimSpace(said))
	}
	return nil
}
