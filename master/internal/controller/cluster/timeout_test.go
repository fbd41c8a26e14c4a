// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestSyncAgainstAFailingCluster(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	named := func(name string) *kubeproberv1.Probe {
		return &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: name, Labels: map[string]string{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster},
		}}
	}
	for _, test := range []struct {
		name     string
		fails    error
		attempts int
	}{
		{name: "goes on after an error", fails: errors.New("refused"), attempts: 5},
		{name: "ends at the first timeout", fails: fmt.Errorf("waiting: %w", context.DeadlineExceeded), attempts: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			attempts := 0
			fail := func() error {
				attempts++
				return test.fails
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
				Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					return fail()
				},
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					return fail()
				},
			}).Build()
			there := map[string]client.Object{}
			for _, name := range []string{"b", "y", "z"} {
				there[name] = named(name)
			}
			result, err := managed{client: c, namespace: "n"}.writeProbes(t.Context(), []*kubeproberv1.Probe{named("a"), named("b"), named("c")}, there)
			if !errors.Is(err, test.fails) {
				t.Errorf("failed with %v, want %v", err, test.fails)
			}
			if attempts != test.attempts {
				t.Errorf("%d attempts, want %d", attempts, test.attempts)
			}
			if want := []string{"b", "y", "z"}; !slices.Equal(result.held, want) {
				t.Errorf("holds %v, want %v as before", result.held, want)
			}
		})
	}
}
