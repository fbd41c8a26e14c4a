// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubeprober/kubeprober/agent/internal/runner"
)

func TestTheCacheKeepsNoCapabilityAndKnowsSidecars(t *testing.T) {
	secret := []corev1.EnvVar{{Name: "URL", Value: "capability"}}
	spec := corev1.PodSpec{
		NodeName: "n",
		InitContainers: []corev1.Container{
			{Name: "sidecar", Env: secret, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}, {Name: "init", Env: secret},
		},
		Containers: []corev1.Container{{Name: "c", Env: secret}},
	}
	pod := &corev1.Pod{Spec: spec}
	job := &batchv1.Job{Spec: batchv1.JobSpec{ActiveDeadlineSeconds: ptr.To[int64](7), Template: corev1.PodTemplateSpec{Spec: spec}}}
	for object, trim := range map[metav1.Object]func(any) (any, error){pod: trimPod, job: trimJob} {
		trimmed, err := trim(object)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(trimmed)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "capability") {
			t.Errorf("%T: %s", object, text)
		}
	}
	if pod.Spec.NodeName != "n" || ptr.Deref(pod.Spec.InitContainers[0].RestartPolicy, "") != corev1.ContainerRestartPolicyAlways || pod.Spec.InitContainers[1].RestartPolicy != nil {
		t.Errorf("pod %+v", pod.Spec)
	}
	if *job.Spec.ActiveDeadlineSeconds != 7 {
		t.Errorf("job %+v", job.Spec)
	}
}

func TestTheCacheHoldsBothNamespacesUnlessElevatedProbesAreRefused(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    []string
	}{
		"by default":             {Options{Namespace: "kubeprober"}, []string{"kubeprober", "kubeprober-elevated"}},
		"with another namespace": {Options{Namespace: "kubeprober", ElevatedNamespace: "other"}, []string{"kubeprober", "other"}},
		"with one namespace":     {Options{Namespace: "kubeprober", ElevatedNamespace: "kubeprober"}, []string{"kubeprober"}},
		"when refused":           {Options{Namespace: "kubeprober", ElevatedProbes: runner.ElevateRefuse}, []string{"kubeprober"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			places := test.options.jobNamespaces()
			if strings.Join(places, " ") != strings.Join(test.want, " ") {
				t.Errorf("got %v", places)
			}
			for kind, config := range cacheOptions(test.options.Namespace, places).ByObject {
				if _, pods := kind.(*corev1.Pod); !pods {
					continue
				}
				if len(config.Namespaces) != len(test.want) {
					t.Errorf("pods are cached of %v", config.Namespaces)
				}
				for place, one := range config.Namespaces {
					if foreign := "kubeprober.erda.cloud/owner-namespace=kubeprober"; (place != "kubeprober") != (one.LabelSelector.String() == foreign) {
						t.Errorf("in %s those with %s", place, one.LabelSelector)
					}
				}
			}
		})
	}
}
