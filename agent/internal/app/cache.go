// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/heartbeat"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// cacheOptions keep the cache to what the agent reads: one namespace, the Jobs and pods of runs there and where else they run, and
// of these and of nodes only the fields that are looked at.
func cacheOptions(namespace string, jobNamespaces []string) cache.Options {
	runs := map[string]cache.Config{}
	for _, place := range jobNamespaces {
		config := cache.Config{LabelSelector: labelled(kubeproberv1.ProbeLabel, selection.Exists)}
		if place != namespace {
			// Several agents may share it.
			config.LabelSelector = labelled(run.OwnerNamespaceLabel, selection.Equals, namespace)
		}
		runs[place] = config
	}
	return cache.Options{
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:            {Namespaces: runs, Transform: trimPod},
			&batchv1.Job{}:           {Namespaces: runs, Transform: trimJob},
			heartbeat.NodeMetadata(): {Transform: trimNode},
		},
	}
}

func labelled(key string, operator selection.Operator, values ...string) labels.Selector {
	requirement, err := labels.NewRequirement(key, operator, values)
	if err != nil {
		// Keys are constants and namespaces are labels. Were they not, nothing would be selected.
		return labels.Nothing()
	}
	return labels.NewSelector().Add(*requirement)
}

// trimPod drops the spec but for the node, and for which init containers are sidecars. It also holds the capability of the run.
func trimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields, pod.Annotations = nil, nil
		spec := corev1.PodSpec{NodeName: pod.Spec.NodeName}
		for i := range pod.Spec.InitContainers {
			c := &pod.Spec.InitContainers[i]
			spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy})
		}
		pod.Spec = spec
		pod.Status.HostIPs, pod.Status.PodIPs, pod.Status.ResourceClaimStatuses = nil, nil, nil
	}
	return object, nil
}

// trimJob drops the template, which is read from the Probe when it is needed.
func trimJob(object any) (any, error) {
	if job, ok := object.(*batchv1.Job); ok {
		job.ManagedFields = nil
		job.Spec = batchv1.JobSpec{ActiveDeadlineSeconds: job.Spec.ActiveDeadlineSeconds}
	}
	return object, nil
}

// trimNode keeps the name: nodes are counted.
func trimNode(object any) (any, error) {
	if node, ok := object.(*metav1.PartialObjectMetadata); ok {
		node.ObjectMeta = metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion}
	}
	return object, nil
}
