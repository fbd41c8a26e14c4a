// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// ownerIndex finds Jobs by the UID of their Probe or ProbeRun, which may be in another namespace.
	ownerIndex = "ownerUID"
	// jobIndex finds pods by the UID of their Job.
	jobIndex = "jobUID"
)

// SetupIndexes adds to a cache the indexes that a Runner reads.
func SetupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	byOwner := func(job client.Object) []string { return orNone(run.OwnerOf(job).UID) }
	if err := indexer.IndexField(ctx, &batchv1.Job{}, ownerIndex, byOwner); err != nil {
		return fmt.Errorf("indexing Jobs by owner: %w", err)
	}
	byJob := func(pod client.Object) []string {
		job := metav1.GetControllerOfNoCopy(pod)
		if job == nil {
			return nil
		}
		return orNone(job.UID)
	}
	if err := indexer.IndexField(ctx, &corev1.Pod{}, jobIndex, byJob); err != nil {
		return fmt.Errorf("indexing pods by Job: %w", err)
	}
	return nil
}

func orNone(uid types.UID) []string {
	if uid == "" {
		return nil
	}
	return []string{string(uid)}
}

// Group is the Jobs of one run.
type Group struct {
	RunID string
	Jobs  []*batchv1.Job
}

// Start is when the first Job of the run was made.
func (g Group) Start() time.Time {
	var start time.Time
	for _, job := range g.Jobs {
		if at := job.CreationTimestamp.Time; start.IsZero() || at.Before(start) {
			start = at
		}
	}
	return start
}

// Meta is what the first Job says of the run.
func (g Group) Meta() run.Meta { return run.MetaOf(g.Jobs[0]) }

// recordedAnnotation marks the Jobs of a run whose end is recorded for good.
const recordedAnnotation = kubeproberv1.GroupName + "/recorded"

// Recorded tells whether all Jobs of the run are marked by MarkRecorded.
func (g Group) Recorded() bool {
	return !slices.ContainsFunc(g.Jobs, func(job *batchv1.Job) bool { return job.Annotations[recordedAnnotation] == "" })
}

// MarkRecorded marks the Jobs of a run whose end is recorded, so that this stays known for as long as they are kept.
func (r *Runner) MarkRecorded(ctx context.Context, g Group) error {
	for _, job := range g.Jobs {
		if job.Annotations[recordedAnnotation] != "" {
			continue
		}
		marked := job.DeepCopy()
		metav1.SetMetaDataAnnotation(&marked.ObjectMeta, recordedAnnotation, "true")
		if err := r.Client.Patch(ctx, marked, client.MergeFrom(job)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("marking Job %s/%s as recorded: %w", job.Namespace, job.Name, err)
		}
	}
	return nil
}

// Finished tells whether Kubernetes is done with all Jobs of the run, and whether all of them succeeded.
func (g Group) Finished() (finished, succeeded bool) {
	succeeded = true
	for _, job := range g.Jobs {
		done, well := run.JobFinished(job)
		if !done {
			return false, false
		}
		succeeded = succeeded && well
	}
	return true, succeeded
}

// Runs lists the runs of an owner that have Jobs, wherever these are, the oldest first.
func (r *Runner) Runs(ctx context.Context, owner types.UID) ([]Group, error) {
	jobs, err := r.jobsOf(ctx, owner)
	if err != nil {
		return nil, err
	}
	return groupJobs(jobs), nil
}

func (r *Runner) jobsOf(ctx context.Context, owner types.UID) ([]batchv1.Job, error) {
	jobs := &batchv1.JobList{}
	if err := r.Client.List(ctx, jobs, client.MatchingFields{ownerIndex: string(owner)}); err != nil {
		return nil, fmt.Errorf("listing Jobs: %w", err)
	}
	return jobs.Items, nil
}

// OnceRuns lists the runs of a probe that one-time diagnoses made, the oldest first.
func (r *Runner) OnceRuns(ctx context.Context, probe string) ([]Group, error) {
	jobs := &batchv1.JobList{}
	err := r.Client.List(ctx, jobs, client.MatchingLabels{kubeproberv1.ProbeLabel: probe}, client.HasLabels{kubeproberv1.ProbeRunLabel})
	if err != nil {
		return nil, fmt.Errorf("listing Jobs of probe %s: %w", probe, err)
	}
	return groupJobs(jobs.Items), nil
}

func groupJobs(jobs []batchv1.Job) []Group {
	index := map[string]int{}
	var groups []Group
	for i := range jobs {
		id := jobs[i].Labels[kubeproberv1.RunIDLabel]
		at, ok := index[id]
		if !ok {
			at = len(groups)
			index[id] = at
			groups = append(groups, Group{RunID: id})
		}
		groups[at].Jobs = append(groups[at].Jobs, &jobs[i])
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(a.Start().Compare(b.Start()), cmp.Compare(a.RunID, b.RunID)) })
	return groups
}

// Exists asks the API server itself whether a run has Jobs: the cache may not have them yet.
func (r *Runner) Exists(ctx context.Context, namespace, runID string) (bool, error) {
	for _, place := range r.Elevation.namespaces(namespace) {
		jobs := &batchv1.JobList{}
		err := r.Live.List(ctx, jobs, client.InNamespace(place), client.MatchingLabels{kubeproberv1.RunIDLabel: runID}, client.Limit(1))
		if err != nil {
			return false, fmt.Errorf("listing Jobs of run %s in namespace %s: %w", runID, place, err)
		}
		if len(jobs.Items) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// newestPod is the newest pod of a Job; nil when there is none.
func (r *Runner) newestPod(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingFields{jobIndex: string(job.UID)}); err != nil {
		return nil, fmt.Errorf("listing pods of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	if len(pods.Items) == 0 {
		return nil, nil
	}
	newest := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &newest, nil
}

// OwnerOfJob maps a Job to what it belongs to, if that is of the given kind.
func OwnerOfJob(kind string) handler.MapFunc {
	return func(_ context.Context, job client.Object) []reconcile.Request {
		owner := run.OwnerOf(job)
		if owner.Kind != kind || owner.Name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: owner.NamespacedName}}
	}
}

// OwnerOfPod maps a pod to what its Job belongs to, if that is of the given kind.
func (r *Runner) OwnerOfPod(kind string) handler.MapFunc {
	ofJob := OwnerOfJob(kind)
	return func(ctx context.Context, pod client.Object) []reconcile.Request {
		controller := metav1.GetControllerOf(pod)
		if controller == nil || controller.Kind != "Job" {
			return nil
		}
		job := &batchv1.Job{}
		// A Job that the cache lacks wakes its owner by itself, when it comes and when it goes.
		if err := r.Client.Get(ctx, types.NamespacedName{Namespace: pod.GetNamespace(), Name: controller.Name}, job); err != nil {
			return nil
		}
		return ofJob(ctx, job)
	}
}

// JobsOf maps a Probe or ProbeRun to those of its Jobs that are in a namespace.
func (r *Runner) JobsOf(namespace string) handler.MapFunc {
	return func(ctx context.Context, owner client.Object) []reconcile.Request {
		jobs, err := r.jobsOf(ctx, owner.GetUID())
		if err != nil {
			// The cache of Jobs ends with the agent, and then nobody is there to be woken.
			log.FromContext(ctx).Error(err, "Jobs of an owner cannot be listed", "owner", owner.GetName())
			return nil
		}
		var requests []reconcile.Request
		for i := range jobs {
			if jobs[i].Namespace == namespace {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&jobs[i])})
			}
		}
		return requests
	}
}
