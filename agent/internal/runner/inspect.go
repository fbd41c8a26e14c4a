// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
)

// Bounds of the log lines that explain a run.
const (
	logLines   = 5
	logBytes   = 4096
	logLength  = 512
	logTimeout = 5 * time.Second
)

// Inspection is what is known of a run by its Jobs and pods.
type Inspection struct {
	// Ending is how the run ended; nil while it has not.
	Ending *record.Ending
	// Recheck is after how long to look again if nothing changes; 0 means that a change will come.
	Recheck time.Duration
}

// Inspect finds out whether a run has ended, and how.
func (r *Runner) Inspect(ctx context.Context, g Group) (Inspection, error) {
	now := r.Clock.Now()
	ending := &record.Ending{Start: g.Start(), End: now, LeftOut: g.Jobs[0].Annotations[leftOutAnnotation], Silent: map[string]record.Gap{}}
	var open bool
	var recheck time.Duration
	verdicts := make([]run.Verdict, len(g.Jobs))
	pods := make([]*corev1.Pod, len(g.Jobs))
	for i, job := range g.Jobs {
		pod, err := r.newestPod(ctx, job)
		if err != nil {
			return Inspection{}, err
		}
		verdict := run.Assess(job, pod, run.MetaOf(job).Deadline, now, r.Grace)
		if verdict.Refusal {
			if verdict, err = r.findRefusal(ctx, job, verdict); err != nil {
				return Inspection{}, err
			}
		}
		verdicts[i], pods[i] = verdict, pod
		if !verdict.Ended {
			open = true
			recheck = sooner(recheck, verdict.Recheck)
		}
	}
	if open {
		return Inspection{Recheck: recheck}, nil
	}
	for i, job := range g.Jobs {
		r.explain(ctx, ending, run.MetaOf(job).Node, verdicts[i], pods[i])
	}
	return Inspection{Ending: ending}, nil
}

func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (r *Runner) explain(ctx context.Context, ending *record.Ending, node string, verdict run.Verdict, pod *corev1.Pod) {
	ending.Nodes = append(ending.Nodes, node)
	gap := record.Gap{Node: node, Reason: verdict.Reason, Message: verdict.Message}
	if verdict.Reason != "" {
		gap.Log = r.logTail(ctx, pod, verdict.Container)
		ending.Gaps = append(ending.Gaps, gap)
		return
	}
	gap.Reason, gap.Message = run.ReasonNoReport, "all containers ended well, and none has reported"
	if pod != nil {
		gap.Log = r.logTail(ctx, pod, run.LogContainer(pod))
	}
	ending.Silent[node] = gap
}

// logTail is the last lines of a log on one line; empty when they cannot be had, which must not keep a result back.
func (r *Runner) logTail(ctx context.Context, pod *corev1.Pod, container string) string {
	if pod == nil || container == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	text, err := r.Logs(ctx, pod, container)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Log of a checker cannot be read", "Pod", pod.Name, "container", container, "reason", err.Error())
		return ""
	}
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' || c == '\r' })
	tail := []rune(strings.Join(lines, " | "))
	// The end of a log says more than its beginning.
	if len(tail) > logLength {
		tail = tail[len(tail)-logLength:]
	}
	return report.CleanText(string(tail), logLength)
}

// PodLogs reads logs from the API server.
func PodLogs(clientset kubernetes.Interface) LogReader {
	return func(ctx context.Context, pod *corev1.Pod, container string) (text string, err error) {
		stream, err := clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
			Container: container, TailLines: ptr.To[int64](logLines), LimitBytes: ptr.To[int64](logBytes),
		}).Stream(ctx)
		if err != nil {
			return "", fmt.Errorf("opening log of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		defer func() { _ = stream.Close() }()
		data, err := io.ReadAll(io.LimitReader(stream, logBytes))
		if err != nil {
			return "", fmt.Errorf("reading log of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return string(data), nil
	}
}

// findRefusal looks at the Events of a Job without pods: quota and admission refuse pods, and only an Event says so.
func (r *Runner) findRefusal(ctx context.Context, job *batchv1.Job, verdict run.Verdict) (run.Verdict, error) {
	events := &corev1.EventList{}
	err := r.Live.List(ctx, events, client.InNamespace(job.Namespace), client.Limit(nodePage),
		client.MatchingFields{"involvedObject.uid": string(job.UID), "reason": "FailedCreate"})
	if err != nil {
		return verdict, fmt.Errorf("listing Events of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	if len(events.Items) == 0 {
		return verdict, nil
	}
	newest := &events.Items[0]
	for i := range events.Items {
		if eventTime(&events.Items[i]).After(eventTime(newest)) {
			newest = &events.Items[i]
		}
	}
	return run.Verdict{Ended: true, Reason: run.ReasonPodRefused, Message: newest.Message}, nil
}

func eventTime(e *corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
