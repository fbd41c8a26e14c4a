// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/controller/orphan"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
)

// checkNamespaces makes sure that the agent may run Jobs where it is told to: its caches would wait for that for ever.
func checkNamespaces(ctx context.Context, live client.Reader, namespaces []string) error {
	for _, namespace := range namespaces {
		err := live.List(ctx, &batchv1.JobList{}, client.InNamespace(namespace), client.Limit(1))
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("listing Jobs in namespace %s: %w: apply the agent's manifest, which makes that namespace with its Roles, "+
				"or start the agent with --elevated-probes=%s", namespace, err, runner.ElevateRefuse)
		}
		if err != nil {
			return fmt.Errorf("listing Jobs in namespace %s: %w", namespace, err)
		}
	}
	return nil
}

// addOrphans adds what removes Jobs from the namespace of elevated probes when their owner is gone.
func (a *agent) addOrphans(runs *runner.Runner) error {
	if len(a.options.jobNamespaces()) == 1 {
		return nil
	}
	orphans := &orphan.Reconciler{
		Client: a.mgr.GetClient(), Live: a.mgr.GetAPIReader(), Runner: runs, Namespace: a.options.elevated(),
	}
	return orphans.SetupWithManager(a.mgr)
}
