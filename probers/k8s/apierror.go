// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubeprober/kubeprober/probers/checker"
)

// judge turns an error of the API server into a verdict; doing says what was being done. It is broken when it fails at
// its own work, by a webhook that does not answer for example. Everything else keeps the check from being made.
func judge(err error, doing string) error {
	var found *checker.VerdictError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &found):
		return err
	case errors.Is(err, context.Canceled):
		return checker.NotChecked("the run was stopped while %s", doing)
	case errors.Is(err, context.DeadlineExceeded):
		return checker.NotChecked("the time was up while %s: %w", doing, err)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return checker.NotChecked("a quota keeps the check from %s: %w", doing, err)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "admission webhook"):
		return checker.NotChecked("a policy keeps the check from %s: %w", doing, err)
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return checker.NotChecked("%s is not allowed; grant it to the service account of the run: %w", doing, err)
	case apierrors.IsTooManyRequests(err):
		return checker.NotChecked("the API server is too busy for %s: %w", doing, err)
	case apierrors.IsInternalError(err):
		return checker.Broken("the API server fails at %s: %w", doing, err)
	case isAnswer(err):
		return checker.NotChecked("%s: %w", doing, err)
	default:
		return checker.NotChecked("the API server cannot be reached for %s: %w", doing, err)
	}
}

// isAnswer tells whether err is an answer of the API server.
func isAnswer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// hopeless tells whether trying again cannot help.
func hopeless(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// afterwards adds the outcome of a teardown to that of the work before it. What went wrong before is the likely cause of
// what goes wrong afterwards (pods that wait for an image take long to go), so the verdict does not get worse by that.
func afterwards(work, teardown error) error {
	if work == nil || teardown == nil {
		return errors.Join(work, teardown)
	}
	status, _ := checker.Verdict(work, "")
	return &checker.VerdictError{Status: status, Err: errors.Join(work, teardown)}
}

func hasVerdict(err error) bool {
	var found *checker.VerdictError
	return errors.As(err, &found)
}
