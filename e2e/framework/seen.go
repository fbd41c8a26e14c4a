// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"slices"
	"sync"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Seen collects objects that exist for however short a time.
type Seen[T client.Object] struct {
	mu      sync.Mutex
	objects []T
}

// Watch starts to collect the objects that key names by its labels, those that are there already included. It returns when all
// of these are collected, and goes on until the spec ends.
func Watch[T client.Object](ctx context.Context, c *Cluster, key T) *Seen[T] {
	ginkgo.GinkgoHelper()
	lw, err := c.listWatch(key)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	seen := &Seen[T]{}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: key,
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
			if added, ok := object.(T); ok {
				seen.add(added)
			}
		}},
	})
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { controller.RunWithContext(ctx) })
	ginkgo.DeferCleanup(func() {
		cancel()
		group.Wait()
	})
	gomega.Expect(cache.WaitForCacheSync(ctx.Done(), controller.HasSynced)).To(gomega.BeTrue())
	return seen
}

func (s *Seen[T]) add(object T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(other T) bool { return other.GetUID() == object.GetUID() }
	if !slices.ContainsFunc(s.objects, same) {
		s.objects = append(s.objects, object)
	}
}

// All are the objects that have been seen, each of them once, in the order in which they appeared.
func (s *Seen[T]) All() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects)
}
