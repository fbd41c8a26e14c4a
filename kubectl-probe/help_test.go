// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"status"}, {"once"}, {"oncestatus"}, {"version"}} {
		name := strings.Join(append([]string{"help"}, args...), "-")
		t.Run(name, func(t *testing.T) {
			got := direct().run(t, append(args, "--help")...)
			got.expect(t, 0, nil, nil)
			golden(t, name, got.stdout)
		})
	}
}

func TestVersion(t *testing.T) {
	t.Run("of the client needs no cluster", func(t *testing.T) {
		got := direct().withEnv("KUBECONFIG=/nowhere").run(t, "version", "--client", "-o", "json")
		var version struct {
			Client struct{ Version, GoVersion, Platform string }
		}
		if err := json.Unmarshal([]byte(got.stdout), &version); err != nil || version.Client.Version == "" || got.code != 0 {
			t.Errorf("unexpected answer (%v, code %d): %s%s", err, got.code, got.stdout, got.stderr)
		}
	})
	t.Run("of the servers tells images and agents", func(t *testing.T) {
		labels := map[string]string{"app.kubernetes.io/part-of": "kubeprober", "app.kubernetes.io/name": "probe-master"}
		create(t, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "probe-master", Namespace: "kubeprober", Labels: labels},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "m", Image: "kubeprober/probe-master:v0.1.5"}}},
				},
			},
		}, nil)
		cluster(t, "erda-cloud")
		direct().run(t, "version").expect(t, 0, []string{"Client: ", "probe-master: kubeprober/probe-master:v0.1.5", "Agents: v9.9.9 on 1 clusters"}, nil)
		direct().run(t, "version", "-o", "yaml").expect(t, 0, []string{"image: kubeprober/probe-master:v0.1.5"}, nil)
	})
	t.Run("of servers that are not there tells that of the client all the same", func(t *testing.T) {
		direct().run(t, "version").expect(t, 1, []string{"Client: "}, []string{"error: Kubeprober does not run in namespace kubeprober"})
	})
}
