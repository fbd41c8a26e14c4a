// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package runner starts runs, finds out how they end, and removes what they leave behind. It knows Jobs, pods, their Events and
// logs; when a run is due, and where its results are kept, is for others to know.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// DefaultGrace is how long a pod may stay in a state that seldom heals, such as ImagePullBackOff, before its run is
	// given up, so that the answer comes long before the deadline.
	DefaultGrace = time.Minute
	// ReportPath precedes the capability in the path of a report URL.
	ReportPath = "/probe-status/"

	nodePage = 100
)

// LogReader reads the end of the log of a container, at most report.MaxOutputBytes; cut tells that there is more before it.
type LogReader func(ctx context.Context, pod *corev1.Pod, container string) (text string, cut bool, err error)

// Runner starts, watches and clears away the Jobs of runs.
type Runner struct {
	// Client reads Jobs and pods from the cache, which must have the indexes of SetupIndexes and hold those of this agent only.
	Client client.Client
	// Live reads nodes, Events and what the cache may not have yet.
	Live client.Reader
	// Logs reads logs.
	Logs LogReader
	// Attempts knows the runs whose reports were refused.
	Attempts *Attempts
	// Authority makes the report URLs.
	Authority *capability.Authority
	// ReportURL tells where the checkers of a new run find the receiver: scheme, host and port.
	ReportURL func(context.Context) (*url.URL, error)
	// Elevation says where runs go that need more than Pod Security "restricted".
	Elevation Elevation
	// Grace is how long a pod may stay in a state that seldom heals.
	Grace time.Duration
	// Clock tells the time.
	Clock clock.PassiveClock
}

// RefusedError says that a run cannot be made at all, and why. Trying again without a change cannot help.
type RefusedError struct{ Gap record.Gap }

func (e *RefusedError) Error() string { return e.Gap.Reason + ": " + e.Gap.Message }

// RefOf is the run as the store and the capability know it.
func RefOf(r *run.Run) record.Ref {
	return record.Ref{Namespace: r.Namespace, Probe: r.Probe, ProbeRun: r.ProbeRun, OwnerUID: r.Owner.UID, RunID: r.ID}
}

// Start makes the Jobs of a run. Those that are there already are left alone, so it may be called again after a crash. A
// RefusedError means that the run cannot be made.
func (r *Runner) Start(ctx context.Context, one *run.Run) error {
	reportURL, err := r.ReportURL(ctx)
	if err != nil {
		return err
	}
	if err := r.place(ctx, one); err != nil {
		return err
	}
	if !one.Spec.Policy.OnEveryNode() {
		return r.createJob(ctx, one, reportURL, "", nil)
	}
	nodes, leftOut, err := r.eligibleNodes(ctx, &one.Spec.Template)
	if err != nil {
		return err
	}
	said := describe(leftOut)
	if len(nodes) == 0 {
		if said == "" {
			said = "the template selects no node of this cluster"
		}
		return &RefusedError{Gap: record.Gap{Reason: run.ReasonNoNode, Message: said}}
	}
	for i, node := range nodes {
		if err := r.createJob(ctx, one, reportURL, node, placement(nodes, i, said)); err != nil {
			return err
		}
	}
	return nil
}

// leftOutAnnotation holds the nodes that a run does not go to.
const leftOutAnnotation = kubeproberv1.GroupName + "/left-out"

func (r *Runner) createJob(ctx context.Context, one *run.Run, reportURL *url.URL, node string, annotations map[string]string) error {
	token, err := r.Authority.Issue(capability.Claims{
		Namespace: one.Namespace, Probe: one.Probe, ProbeRun: one.ProbeRun, OwnerUID: one.Owner.UID,
		RunID: one.ID, Node: node, Deadline: one.Deadline.Unix(),
	})
	if err != nil {
		return err
	}
	job := run.BuildJob(one, node, reportURL.JoinPath(ReportPath, token).String(), r.Clock.Now())
	maps.Copy(job.Annotations, annotations)
	err = r.Client.Create(ctx, job)
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err):
		return r.expectOwn(ctx, one, job)
	// Of a create, not found is the namespace.
	case apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &RefusedError{Gap: record.Gap{Reason: run.ReasonJobRefused, Message: err.Error()}}
	default:
		return fmt.Errorf("creating Job %s/%s: %w", job.Namespace, job.Name, err)
	}
}

// expectOwn makes sure that a Job that is there already is the one of this run: another agent, or this one before a crash, has
// made it.
func (r *Runner) expectOwn(ctx context.Context, one *run.Run, job *batchv1.Job) error {
	there := &batchv1.Job{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(job), there); err != nil {
		return fmt.Errorf("reading Job %s/%s, which exists already: %w", job.Namespace, job.Name, err)
	}
	if run.OwnerOf(there).UID != one.Owner.UID {
		return fmt.Errorf("creating Job %s/%s: a Job of that name belongs to something else", job.Namespace, job.Name)
	}
	return nil
}

func (r *Runner) eligibleNodes(ctx context.Context, template *corev1.PodSpec) (fit []string, leftOut []run.LeftOut, err error) {
	list := &corev1.NodeList{}
	for {
		// In pages: a node is large, and there may be thousands.
		if err := r.Live.List(ctx, list, client.Limit(nodePage), client.Continue(list.Continue)); err != nil {
			return nil, nil, fmt.Errorf("listing nodes: %w", err)
		}
		for i := range list.Items {
			node := &list.Items[i]
			selected, whyNot := run.NodeFits(template, node)
			switch {
			case !selected:
			case whyNot != "":
				leftOut = append(leftOut, run.LeftOut{Node: node.Name, Why: whyNot})
			case len(fit) == run.MaxNodes:
				leftOut = append(leftOut, run.LeftOut{Node: node.Name, Why: fmt.Sprintf("a run goes to %d nodes at most", run.MaxNodes)})
			default:
				fit = append(fit, node.Name)
			}
		}
		if list.Continue == "" {
			return fit, leftOut, nil
		}
	}
}

func describe(leftOut []run.LeftOut) string {
	const most = 10
	if len(leftOut) == 0 {
		return ""
	}
	texts := make([]string, 0, most+1)
	for i, l := range leftOut {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(leftOut)-most))
			break
		}
		texts = append(texts, fmt.Sprintf("%s (%s)", l.Node, l.Why))
	}
	return "nodes left out: " + strings.Join(texts, ", ")
}

// Stop ends the Jobs of a recorded run that Kubernetes still tries to run: the run was given up. The pods go, the Job stays as a
// record of a failure.
func (r *Runner) Stop(ctx context.Context, g Group) error {
	for _, job := range g.Jobs {
		if err := r.stopJob(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) stopJob(ctx context.Context, job *batchv1.Job) error {
	if finished, _ := run.JobFinished(job); finished || job.DeletionTimestamp != nil {
		return nil
	}
	if job.Spec.ActiveDeadlineSeconds != nil && *job.Spec.ActiveDeadlineSeconds == 1 {
		return nil
	}
	pod, err := r.newestPod(ctx, job)
	if err != nil {
		return err
	}
	if pod != nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed) {
		// Kubernetes is about to notice.
		return nil
	}
	stopped := job.DeepCopy()
	var now int64 = 1
	stopped.Spec.ActiveDeadlineSeconds = &now
	if err = r.Client.Patch(ctx, stopped, client.MergeFrom(job)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("stopping Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	return nil
}

// Limits of the finished runs of a probe whose Jobs and pods are kept for a person to look at.
const (
	keepSucceeded = 1
	keepFailed    = 2
)

// Prune removes the Jobs and pods of finished runs, but for the newest. Only runs whose end is recorded may be given.
func (r *Runner) Prune(ctx context.Context, groups []Group) error {
	// One order for all workers: times are in whole seconds.
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(b.Start().Compare(a.Start()), cmp.Compare(b.RunID, a.RunID)) })
	var succeeded, failed int
	var errs []error
	for _, g := range groups {
		finished, success := g.Finished()
		if !finished {
			continue
		}
		if success {
			succeeded++
		} else {
			failed++
		}
		if success && succeeded <= keepSucceeded || !success && failed <= keepFailed {
			continue
		}
		for _, job := range g.Jobs {
			err := r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &job.UID})
			if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
				errs = append(errs, fmt.Errorf("removing Job %s/%s: %w", job.Namespace, job.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}
