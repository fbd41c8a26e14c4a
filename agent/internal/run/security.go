// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// restrict fills in what the Pod Security level "restricted" asks for, field by field where the template says nothing. A
// template that asks for more, by its own fields, gets it.
func restrict(spec *corev1.PodSpec) {
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	pod := spec.SecurityContext
	if pod.SeccompProfile == nil {
		pod.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	if pod.RunAsNonRoot == nil && !asksForRoot(spec) {
		pod.RunAsNonRoot = ptr.To(true)
	}
	for i := range spec.InitContainers {
		restrictContainer(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		restrictContainer(&spec.Containers[i])
	}
}

func restrictContainer(c *corev1.Container) {
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	own := c.SecurityContext
	if ptr.Deref(own.Privileged, false) {
		return
	}
	if own.AllowPrivilegeEscalation == nil && !addsSysAdmin(own) {
		own.AllowPrivilegeEscalation = ptr.To(false)
	}
	if own.Capabilities == nil {
		own.Capabilities = &corev1.Capabilities{}
	}
	if own.Capabilities.Drop == nil {
		own.Capabilities.Drop = []corev1.Capability{"ALL"}
	}
}

// asksForRoot tells whether a default of runAsNonRoot would contradict the template: it uses a namespace of the host, a
// privileged container, or user 0.
func asksForRoot(spec *corev1.PodSpec) bool {
	if spec.HostNetwork || spec.HostPID || spec.HostIPC || isRoot(spec.SecurityContext.RunAsUser) {
		return true
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if own := c.SecurityContext; own != nil && (isRoot(own.RunAsUser) || ptr.Deref(own.Privileged, false)) {
			return true
		}
	}
	return false
}

func isRoot(user *int64) bool { return user != nil && *user == 0 }

// addsSysAdmin tells of a capability that the API server refuses together with a ban on privilege escalation.
func addsSysAdmin(own *corev1.SecurityContext) bool {
	return own.Capabilities != nil && slices.ContainsFunc(own.Capabilities.Add, func(c corev1.Capability) bool {
		return c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN"
	})
}
