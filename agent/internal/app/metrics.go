// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/kubeprober/kubeprober/agent/internal/metrics"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// addMetrics adds the metrics of the agent to those of controller-runtime while the agent runs and serves them.
func (a *agent) addMetrics(ctx context.Context) error {
	a.metrics = metrics.New(a.mgr.GetCache(), a.options.Namespace, a.clock)
	if a.options.MetricsAddr == "0" {
		return nil
	}
	if _, err := a.mgr.GetCache().GetInformer(ctx, &kubeproberv1.ProbeStatus{}); err != nil {
		return fmt.Errorf("watching ProbeStatuses for metrics: %w", err)
	}
	return a.mgr.Add(everyReplica(func(ctx context.Context) error {
		// Runnables start when the caches are filled.
		if err := ctrlmetrics.Registry.Register(a.metrics); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
		defer ctrlmetrics.Registry.Unregister(a.metrics)
		<-ctx.Done()
		return nil
	}))
}
