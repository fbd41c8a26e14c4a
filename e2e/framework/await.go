// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"
)

// Await watches the object that key names (by name, or by labels when it has no name) until it is as wanted, and returns
// it. It fails the spec, with the object as it was last seen, when that takes longer than within.
func Await[T client.Object](ctx context.Context, c *Cluster, key T, within time.Duration, want string, is func(T) bool) T {
	ginkgo.GinkgoHelper()
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	lw, err := c.listWatch(key)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())

	var last T
	seen := false
	_, err = watchtools.UntilWithSync(ctx, lw, key, nil, func(event watch.Event) (bool, error) {
		object, ok := event.Object.(T)
		if !ok || event.Type == watch.Deleted {
			return false, nil
		}
		last, seen = object, true
		return is(object), nil
	})
	if err != nil {
		ginkgo.Fail(fmt.Sprintf("%s: %s of cluster %s did not come to be within %s (%v)\n%s", want, nameOf(key), c.Name, within, err, describe(last, seen)))
	}
	fmt.Fprintf(ginkgo.GinkgoWriter, "[%s] %s: %s after %s\n", c.Name, nameOf(key), want, time.Since(started).Round(time.Millisecond))
	return last
}

// AwaitGone watches until the object does not exist.
func AwaitGone(ctx context.Context, c *Cluster, key client.Object, within time.Duration) {
	ginkgo.GinkgoHelper()
	gvk, err := apiutil.GVKForObject(key, c.Client.Scheme())
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	object := fmt.Sprintf("%s.%s.%s/%s", strings.ToLower(gvk.Kind), gvk.Version, gvk.Group, key.GetName())
	args := []string{"wait", "--for=delete", fmt.Sprintf("--timeout=%s", within), object}
	if key.GetNamespace() != "" {
		args = append(args, "--namespace", key.GetNamespace())
	}
	c.Kubectl(args...).Succeed(ctx)
}

// Get reads an object.
func Get[T client.Object](ctx context.Context, c *Cluster, object T) T {
	ginkgo.GinkgoHelper()
	gomega.Expect(c.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(gomega.Succeed())
	return object
}

// listWatch lists and watches what key names.
func (c *Cluster) listWatch(key client.Object) (cache.ListerWatcher, error) {
	gvk, err := apiutil.GVKForObject(key, c.Client.Scheme())
	if err != nil {
		return nil, fmt.Errorf("finding the kind of %T: %w", key, err)
	}
	gvk.Kind += "List"
	newList := func() (client.ObjectList, error) {
		object, err := c.Client.Scheme().New(gvk)
		if err != nil {
			return nil, fmt.Errorf("making a %s: %w", gvk.Kind, err)
		}
		list, ok := object.(client.ObjectList)
		if !ok {
			return nil, fmt.Errorf("%s is no list", gvk.Kind)
		}
		return list, nil
	}
	options := func(raw metav1.ListOptions) []client.ListOption {
		selected := []client.ListOption{&client.ListOptions{Raw: &raw}, client.InNamespace(key.GetNamespace())}
		if key.GetName() != "" {
			return append(selected, client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.GetName())})
		}
		return append(selected, client.MatchingLabels(key.GetLabels()))
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list, err := newList()
			if err != nil {
				return nil, err
			}
			return list, c.Client.List(ctx, list, options(raw)...)
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			list, err := newList()
			if err != nil {
				return nil, err
			}
			return c.Client.Watch(ctx, list, options(raw)...)
		},
	}, nil
}

func nameOf(key client.Object) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", key), "*")
	name = name[strings.LastIndex(name, ".")+1:]
	if key.GetName() == "" {
		return fmt.Sprintf("%s %v", name, key.GetLabels())
	}
	return fmt.Sprintf("%s %s", name, key.GetName())
}

func describe(object client.Object, seen bool) string {
	if !seen {
		return "it does not exist"
	}
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
