// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"maps"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// WorkerServiceAccount is what checkers run as unless the template names another.
	WorkerServiceAccount = "kubeprober-worker"
	// backstop is how much longer than the deadline a Job may run when nobody stops it. The agent stops a run at its
	// deadline itself, while the pods are still there to say what they were waiting for.
	backstop = 10 * time.Second
)

// BuildJob makes the Job of a run, or its Job for one node. reportURL is the capability of this Job.
func BuildJob(r *Run, node, reportURL string, now time.Time) *batchv1.Job {
	labels := map[string]string{kubeproberv1.ProbeLabel: r.Probe, kubeproberv1.RunIDLabel: r.ID}
	maps.Copy(labels, ownerLabels(r))
	if r.ProbeRun != "" {
		labels[kubeproberv1.ProbeRunLabel] = LabelValue(r.ProbeRun)
	}
	annotations := map[string]string{
		DueAnnotation:       r.Due.UTC().Format(time.RFC3339),
		DeadlineAnnotation:  r.Deadline.UTC().Format(time.RFC3339),
		OwnerNameAnnotation: r.Owner.Name,
	}
	if r.Generation != 0 {
		annotations[GenerationAnnotation] = strconv.FormatInt(r.Generation, 10)
	}
	if node != "" {
		annotations[NodeAnnotation] = node
	}
	// At least a second: 0 would be refused.
	active := max(int64((r.Deadline.Sub(now)+backstop)/time.Second), 1)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.jobNamespace(), Name: JobName(r.ID, node),
			Labels: labels, Annotations: annotations,
			OwnerReferences: ownerReferences(r),
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:          ptr.To[int32](0),
			ActiveDeadlineSeconds: &active,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       podSpec(r, node, reportURL),
			},
		},
	}
}

func podSpec(r *Run, node, reportURL string) corev1.PodSpec {
	spec := *r.Spec.Template.DeepCopy()
	// A run is one attempt whatever the template says: a container that is started again loses the log and the exit code that
	// explain the first, and the Job ends its pod for it.
	spec.RestartPolicy = corev1.RestartPolicyNever
	if spec.ServiceAccountName == "" && spec.DeprecatedServiceAccount == "" {
		spec.ServiceAccountName = WorkerServiceAccount
	}
	if node != "" {
		pinToNode(&spec, node)
	}
	restrict(&spec)
	given, extra := environment(r, reportURL), extraConfig(r.ExtraConfig)
	for i := range spec.InitContainers {
		provide(&spec.InitContainers[i], given, extra)
	}
	for i := range spec.Containers {
		provide(&spec.Containers[i], given, extra)
	}
	return spec
}

// Meta is what a Job says of its run.
type Meta struct {
	RunID      string
	Node       string
	Due        time.Time
	Deadline   time.Time
	Generation int64
}

// MetaOf reads what BuildJob wrote. A time or number that somebody has spoilt is zero; a spoilt deadline counts as passed.
func MetaOf(job *batchv1.Job) Meta {
	annotations := job.GetAnnotations()
	due, _ := time.Parse(time.RFC3339, annotations[DueAnnotation])
	deadline, _ := time.Parse(time.RFC3339, annotations[DeadlineAnnotation])
	generation, _ := strconv.ParseInt(annotations[GenerationAnnotation], 10, 64)
	return Meta{
		RunID: job.Labels[kubeproberv1.RunIDLabel], Node: annotations[NodeAnnotation],
		Due: due, Deadline: deadline, Generation: generation,
	}
}
