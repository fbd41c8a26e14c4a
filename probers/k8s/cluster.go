// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"fmt"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// Cluster is the API of the cluster that is checked, as the run's service account sees it.
type Cluster struct {
	core corev1client.CoreV1Interface
	apps appsv1client.AppsV1Interface
}

// NewCluster makes the clients.
func NewCluster(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "kubeprober-probe-k8s"
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making the transport to the API server: %w", err)
	}
	core, err := corev1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("making the client of the core API: %w", err)
	}
	apps, err := appsv1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("making the client of the apps API: %w", err)
	}
	return &Cluster{core: core, apps: apps}, nil
}
