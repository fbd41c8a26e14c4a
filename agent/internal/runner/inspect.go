// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
)

// Inspection is what is known of a run by its Jobs and pods.
type Inspection struct {
	// Ending is how the run ended; nil while it has not.
	Ending *record.Ending
	// Recheck is after how long to look again if nothing changes; 0 means that a change will come.
	Recheck time.Duration
}

// Inspect finds out whether a run has ended, and how. heard tells on which nodes its reports were taken, as far as is known.
func (r *Runner) Inspect(ctx context.Context, g Group, heard func(node string) bool) (Inspection, error) {
	now := r.Clock.Now()
	var open bool
	var recheck time.Duration
	endings := make([]jobEnding, len(g.Jobs))
	for i, job := range g.Jobs {
		pod, err := r.newestPod(ctx, job)
		if err != nil {
			return Inspection{}, err
		}
		meta := run.MetaOf(job)
		verdict := run.Assess(job, pod, meta.Deadline, now, r.Grace)
		if verdict.Refusal {
			if verdict, err = r.findRefusal(ctx, job, verdict); err != nil {
				return Inspection{}, err
			}
		}
		if verdict.Homeless {
			if verdict, err = r.findLostNode(ctx, meta.Node, verdict); err != nil {
				return Inspection{}, err
			}
		}
		endings[i] = jobEnding{job: job, meta: meta, pod: pod, verdict: verdict, heard: heard(meta.Node)}
		if !verdict.Ended {
			open = true
			recheck = sooner(recheck, verdict.Recheck)
		}
	}
	if open {
		return Inspection{Recheck: recheck}, nil
	}
	return r.explain(ctx, g, endings, now)
}

func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
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

// findLostNode looks at the node that a pod is pinned to: the scheduler says only that it does not fit.
func (r *Runner) findLostNode(ctx context.Context, name string, verdict run.Verdict) (run.Verdict, error) {
	nodes := &corev1.NodeList{}
	if err := r.Live.List(ctx, nodes, client.MatchingFields{metav1.ObjectNameField: name}); err != nil {
		return verdict, fmt.Errorf("reading node %s: %w", name, err)
	}
	why := "it is gone"
	if len(nodes.Items) > 0 {
		if why = run.LostBecause(&nodes.Items[0]); why == "" {
			return verdict, nil
		}
	}
	return run.Verdict{Ended: true, Reason: run.ReasonNodeLost, Message: fmt.Sprintf("node %s: %s", name, why)}, nil
}

func eventTime(e *corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
