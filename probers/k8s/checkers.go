// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// Checkers makes all checkers of the package, as the environment configures them. One that is configured wrongly says so
// in its own result, and the others run.
func Checkers(cluster *Cluster, env environ.Lookup) []checker.Checker {
	var all []checker.Checker
	if c, err := NewDeploymentCheck(cluster, env); err != nil {
		all = append(all, checker.Failed(DeploymentChecker, err))
	} else {
		all = append(all, c)
	}
	dns, err := NewDNSChecks(cluster, env)
	for _, c := range dns {
		if err != nil {
			c = checker.Failed(c.Name(), err)
		}
		all = append(all, c)
	}
	if c, err := NewNamespaceCheck(cluster, env); err != nil {
		all = append(all, checker.Failed(NamespaceChecker, err))
	} else {
		all = append(all, c)
	}
	return all
}
