// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testenv gives the suites of the master a real API server, the master's ground floor on it (hub, heartbeat
// endpoint, fleet), and managed clusters that reach it by a real tunnel. It is for tests only and knows no controller.
package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Plane is a control plane with the kinds of Kubeprober. It plays the master cluster, and in other namespaces also the
// managed clusters: these only see what comes through their tunnels.
type Plane struct {
	Config *rest.Config
	Client client.WithWatch
	Scheme *apiruntime.Scheme

	env *envtest.Environment
}

// StartPlane starts a control plane; configure may set flags of its API server.
func StartPlane(configure func(*envtest.APIServer)) (*Plane, error) {
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, kubeproberv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	_, file, _, _ := runtime.Caller(0)
	crds := filepath.Join(filepath.Dir(file), "..", "..", "..", "apis", "crds")
	env := &envtest.Environment{CRDDirectoryPaths: []string{crds}, ErrorIfCRDPathMissing: true}
	if configure != nil {
		configure(env.ControlPlane.GetAPIServer())
	}
	config, err := env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	config.QPS = -1
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return &Plane{Config: config, Client: c, Scheme: scheme, env: env}, nil
}

// Stop ends the control plane.
func (p *Plane) Stop() error { return p.env.Stop() }

// CreateNamespace makes the namespace in which a managed cluster runs its probes.
func (p *Plane) CreateNamespace(ctx context.Context, name string) error {
	return p.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// Probe returns a valid Probe.
func Probe(namespace, name string) *kubeproberv1.Probe {
	return &kubeproberv1.Probe{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kubeproberv1.ProbeSpec{
			Policy: kubeproberv1.ProbePolicy{RunInterval: new(int32(30))},
			Template: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "checker", Image: "example.com/checker:v1"}},
			},
		},
	}
}
