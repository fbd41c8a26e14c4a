// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// services answers every Get with one Service or error.
type services struct {
	client.Reader
	clusterIP string
	err       error
}

func (s services) Get(_ context.Context, _ client.ObjectKey, to client.Object, _ ...client.GetOption) error {
	to.(*corev1.Service).Spec.ClusterIP = s.clusterIP
	return s.err
}

func TestReportsGoToTheClusterIPOfTheService(t *testing.T) {
	const byName = "http://probeagent.probes.svc.example.test:8082"
	tests := map[string]struct {
		services services
		want     string
	}{
		"which needs no DNS":              {services{clusterIP: "10.96.0.7"}, "http://10.96.0.7:8082"},
		"in brackets when it is IPv6":     {services{clusterIP: "fd00::7"}, "http://[fd00::7]:8082"},
		"or to its name when headless":    {services{clusterIP: corev1.ClusterIPNone}, byName},
		"or to its name when it is gone":  {services{err: apierrors.NewNotFound(corev1.Resource("services"), "probeagent")}, byName},
		"or to its name when kept secret": {services{err: apierrors.NewForbidden(corev1.Resource("services"), "probeagent", nil)}, byName},
		"and wait for the API server":     {services{err: errors.New("no answer")}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			find := serviceURL(test.services, types.NamespacedName{Namespace: "probes", Name: "probeagent"}, "example.test")
			got, err := find(t.Context())
			if test.want == "" {
				if err == nil {
					t.Errorf("got %s without an error", got)
				}
				return
			}
			if err != nil || got.String() != test.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}
