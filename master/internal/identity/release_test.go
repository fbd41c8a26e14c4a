// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func TestANameIsNotRegisteredAnewRightAfterItsClusterWasDeleted(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&kubeproberv1.Cluster{}).Build()
	b := NewBinder(c, c, events.NewFakeRecorder(1), counted(100))
	registered := func(name string) bool {
		err := c.Get(t.Context(), client.ObjectKey{Name: name}, &kubeproberv1.Cluster{})
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return !apierrors.IsNotFound(err)
	}

	b.Release("edge")
	err := b.Bind(t.Context(), hub.Identity{Cluster: "edge", UID: "u"})
	if err == nil || errors.Is(err, hub.ErrRefused) {
		t.Errorf("got %v, want an error that makes the agent try again", err)
	}
	if registered("edge") {
		t.Error("the released name was registered")
	}
	if err := b.Bind(t.Context(), hub.Identity{Cluster: "other", UID: "v"}); err != nil || !registered("other") {
		t.Errorf("another name was not registered: %v", err)
	}

	b.released.Remove("edge")
	if err := b.Bind(t.Context(), hub.Identity{Cluster: "edge", UID: "u"}); err != nil || !registered("edge") {
		t.Errorf("the name was not registered after the pause: %v", err)
	}
}
