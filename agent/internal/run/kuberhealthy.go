// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strconv"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// UUID is the UUID of a run, the same whoever computes it. It names the run for checkers of Kuberhealthy and is no secret.
func UUID(runID string) string {
	ours := uuid.NewSHA1(uuid.NameSpaceDNS, []byte(kubeproberv1.GroupName))
	return uuid.NewSHA1(ours, []byte(runID)).String()
}

// kuberhealthyEnvironment is what checkers written for Kuberhealthy read.
func kuberhealthyEnvironment(r *Run, reportURL string) []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: report.EnvKuberhealthyURL, Value: reportURL},
		{Name: report.EnvKuberhealthyRunUUID, Value: UUID(r.ID)},
		{Name: report.EnvKuberhealthyDeadline, Value: strconv.FormatInt(r.Deadline.Unix(), 10)},
		{Name: report.EnvKuberhealthyNamespace, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
	}
}
