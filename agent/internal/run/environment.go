// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// environment is what every container of a run gets: first what the agent says, then the configs of the probe. Of several
// configs that set one variable the last wins; what the agent says wins over configs.
func environment(r *Run, reportURL string) []corev1.EnvVar {
	env := []corev1.EnvVar{
		{Name: report.EnvProbeNamespace, Value: r.Namespace},
		{Name: report.EnvProbeName, Value: r.Probe},
		{Name: report.EnvReportURL, Value: reportURL},
		{Name: report.EnvRunID, Value: r.ID},
		{Name: report.EnvRunDeadline, Value: r.Deadline.UTC().Format(time.RFC3339)},
		{Name: report.EnvNodeName, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
	}
	env = append(env, kuberhealthyEnvironment(r, reportURL)...)
	fixed := len(env)
	for _, config := range r.Spec.Configs {
		for _, v := range config.Env {
			if i := indexOf(env, v.Name); i >= fixed {
				env[i] = v
			} else if i < 0 {
				env = append(env, v)
			}
		}
	}
	return env
}

// extraConfig is the ConfigMap extra-config as plain variables, for pods in a namespace that does not have it.
func extraConfig(values map[string]string) []corev1.EnvVar {
	env := make([]corev1.EnvVar, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		// What is no name of a variable, the kubelet leaves out as well.
		if len(validation.IsEnvVarName(name)) > 0 {
			continue
		}
		// In a plain variable $(NAME) would stand for another one, in a ConfigMap it stands for itself.
		env = append(env, corev1.EnvVar{Name: name, Value: strings.ReplaceAll(values[name], "$", "$$")})
	}
	return env
}

// provide gives a container the environment. What the container sets itself wins, by env and by envFrom; extra is of the lowest
// precedence.
func provide(c *corev1.Container, given, extra []corev1.EnvVar) {
	env := make([]corev1.EnvVar, 0, len(extra)+len(given)+len(c.Env))
	for _, v := range extra {
		if indexOf(given, v.Name) < 0 && indexOf(c.Env, v.Name) < 0 {
			env = append(env, v)
		}
	}
	for _, v := range given {
		if indexOf(c.Env, v.Name) < 0 {
			env = append(env, v)
		}
	}
	c.Env = append(env, c.Env...)
	// Of several sources the last wins.
	c.EnvFrom = append([]corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: kubeproberv1.ExtraConfigName},
		Optional:             ptr.To(true),
	}}}, c.EnvFrom...)
}

func indexOf(env []corev1.EnvVar, name string) int {
	return slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == name })
}
