// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestOnlyTemplatesThatAskForMoreViolateRestricted(t *testing.T) {
	judge, err := NewJudge()
	if err != nil {
		t.Fatal(err)
	}
	plain := func(change func(*corev1.PodSpec)) corev1.PodSpec {
		spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}, InitContainers: []corev1.Container{{Name: "i"}}}
		change(&spec)
		return spec
	}
	tests := map[string]struct {
		template corev1.PodSpec
		want     []string
	}{
		"a plain one": {template: plain(func(*corev1.PodSpec) {})},
		"one with the volumes that anybody may have": {template: plain(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{
				{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
			}
		})},
		"the network of the node": {template: plain(func(s *corev1.PodSpec) { s.HostNetwork = true }), want: []string{"host namespaces", "hostNetwork=true", "runAsNonRoot"}},
		"a folder of the node": {template: plain(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}), want: []string{"hostPath", `"host"`}},
		"user 0": {template: plain(func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0)}
		}), want: []string{"runAsUser=0"}},
		"a privileged init container": {template: plain(func(s *corev1.PodSpec) {
			s.InitContainers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
		}), want: []string{"privileged", `"i"`}},
		"an added capability": {template: plain(func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_RAW"}}}
		}), want: []string{"NET_RAW"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := judge.Violations(testRun(test.template))
			if (got == "") != (len(test.want) == 0) {
				t.Errorf("got %q", got)
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, which does not say %q", got, want)
				}
			}
		})
	}
}

func TestExtraConfigOfAnotherNamespaceIsGivenAsItIsAndWinsOverNothing(t *testing.T) {
	r := testRun(corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "C", Value: "own"}}}}})
	r.JobNamespace = "kubeprober-elevated"
	r.ExtraConfig = map[string]string{"A": "extra", "C": "extra", "REGION": "eu", "PRICE": "$(A) $5", "not a name": "x", "": "x"}
	job := BuildJob(r, "", "http://url", time.Unix(100, 0))
	env := map[string]string{}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if _, twice := env[v.Name]; twice {
			t.Errorf("%s is there twice", v.Name)
		}
		env[v.Name] = v.Value
	}
	for name, want := range map[string]string{"A": "first", "C": "own", "REGION": "eu", "PRICE": "$$(A) $$5"} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if _, there := env["not a name"]; there {
		t.Error("a key that is no name of a variable is given, and the API server refuses the Job")
	}
}

func TestAJobKnowsItsOwnerWhereverItIs(t *testing.T) {
	long := strings.Repeat("r", 200)
	r := testRun(corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}})
	r.Owner = metav1.OwnerReference{Kind: "ProbeRun", Name: long, UID: "uid", Controller: ptr.To(true)}
	want := Owner{Kind: "ProbeRun", NamespacedName: types.NamespacedName{Namespace: "kubeprober", Name: long}, UID: "uid"}

	own := BuildJob(r, "", "http://url", time.Unix(100, 0))
	if got := OwnerOf(own); got != want || own.Namespace != "kubeprober" || len(own.OwnerReferences) != 1 {
		t.Errorf("in its own namespace: %+v, references %v", got, own.OwnerReferences)
	}
	r.JobNamespace = "kubeprober-elevated"
	elevated := BuildJob(r, "", "http://url", time.Unix(100, 0))
	if got := OwnerOf(elevated); got != want || elevated.Namespace != "kubeprober-elevated" || len(elevated.OwnerReferences) != 0 {
		t.Errorf("in another namespace: %+v, references %v", got, elevated.OwnerReferences)
	}
	for name, value := range elevated.Spec.Template.Labels {
		if len(value) > 63 {
			t.Errorf("label %s has %d characters", name, len(value))
		}
	}
	if elevated.Spec.Template.Labels[OwnerNamespaceLabel] != "kubeprober" || elevated.Labels[kubeproberv1.ProbeLabel] != "k8s" {
		t.Errorf("labels %v", elevated.Spec.Template.Labels)
	}

	earlier := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "kubeprober", OwnerReferences: []metav1.OwnerReference{r.Owner}}}
	if got := OwnerOf(earlier); got != want {
		t.Errorf("a Job of an earlier agent: %+v", got)
	}
	if got := OwnerOf(&batchv1.Job{}); got.UID != "" {
		t.Errorf("a Job of nobody: %+v", got)
	}
}
