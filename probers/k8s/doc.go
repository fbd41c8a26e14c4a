// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package k8s checks from inside a cluster that its control plane does its work: a Deployment becomes ready and answers
// through its Service, names resolve, a namespace comes and goes. It knows nothing of the run that it is part of but its
// name and its deadline.
//
// ERROR means that the cluster failed to do what was asked. What keeps the check from being made (a missing permission, a
// quota, a check image that cannot be pulled, an API server that is not reachable for a moment) is UNKNOWN.
package k8s
