// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// Judge tells what the pods of runs would violate. It is the code by which the API server decides, so that a run goes to the
// namespace that takes it, and is not refused there.
type Judge struct{ evaluator policy.Evaluator }

// NewJudge makes a judge by the newest version of the Pod Security Standards that it knows.
func NewJudge() (*Judge, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("loading the Pod Security Standards: %w", err)
	}
	return &Judge{evaluator: evaluator}, nil
}

// Violations names the controls of the Pod Security level "restricted" that the pods of a run would violate, as the API server
// words them; empty when there are none.
func (j *Judge) Violations(r *Run) string {
	spec := podSpec(r, "", "")
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	result := policy.AggregateCheckResults(j.evaluator.EvaluatePod(restricted, &metav1.ObjectMeta{}, &spec))
	return result.ForbiddenDetail()
}
