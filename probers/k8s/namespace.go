// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// NamespaceChecker is the name of the checker that creates and deletes a namespace.
const NamespaceChecker = "namespace-check"

// NewNamespaceCheck makes the checker that creates a namespace, waits until it can be used, deletes it and waits until it
// is gone.
func NewNamespaceCheck(cluster *Cluster, env environ.Lookup) (checker.Cleaner, error) {
	s := newSettings(env)
	c := &namespaceCheck{
		cluster:  cluster,
		identity: newIdentity(env, NamespaceChecker, "kubeprober-check"),
		timeout:  s.timeout(),
		reapOff:  s.reapOff(),
	}
	c.clean.Store(true)
	return c, s.Err()
}

type namespaceCheck struct {
	cluster  *Cluster
	identity identity
	timeout  time.Duration
	reapOff  bool
	// clean is true while nothing of this check is in the cluster.
	clean atomic.Bool
}

func (c *namespaceCheck) Name() string         { return NamespaceChecker }
func (c *namespaceCheck) Limit() time.Duration { return c.timeout }

func (c *namespaceCheck) Check(ctx context.Context) (checker.Status, string) {
	started := time.Now()
	notes, err := c.check(ctx, newBudget(ctx, c.timeout))
	return checker.Verdict(err, fmt.Sprintf("a namespace was created, ready and deleted in %s%s",
		time.Since(started).Round(10*time.Millisecond), notes))
}

func (c *namespaceCheck) check(ctx context.Context, b budget) (notes string, err error) {
	notes = c.reap(ctx)
	err = c.create(ctx, b)
	if c.clean.Load() {
		return notes, err
	}
	return notes, afterwards(err, c.remove(ctx, b))
}

// create makes the namespace and waits for its default service account, without which no pod can run in it.
func (c *namespaceCheck) create(ctx context.Context, b budget) error {
	ctx, cancel := b.work(ctx)
	defer cancel()
	name := c.identity.instance
	namespace := &corev1.Namespace{ObjectMeta: c.identity.meta(b.deadline)}
	c.clean.Store(false)
	if _, err := c.cluster.core.Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		// Without an answer it may have been created all the same.
		c.clean.Store(isAnswer(err))
		return judge(err, "creating a namespace")
	}
	started := time.Now()
	err := await(ctx, c.cluster.core.Namespaces(), named(name), func(objects map[types.UID]*corev1.Namespace) (bool, error) {
		for _, n := range objects {
			return n.Status.Phase == corev1.NamespaceActive, nil
		}
		return false, checker.NotChecked("somebody else deleted namespace %s", name)
	})
	if err != nil {
		return b.outcome(err, started, "waiting for a namespace", "namespace "+name+" did not become Active")
	}
	err = await(ctx, c.cluster.core.ServiceAccounts(name), named("default"),
		func(objects map[types.UID]*corev1.ServiceAccount) (bool, error) { return len(objects) > 0, nil })
	return b.outcome(err, started, "waiting for the default service account of a namespace",
		"namespace "+name+" did not get its default service account")
}

// remove deletes the namespace and waits until it is gone.
func (c *namespaceCheck) remove(ctx context.Context, b budget) error {
	ctx, cancel := context.WithDeadline(ctx, b.deadline)
	defer cancel()
	started := time.Now()
	name := c.identity.instance
	namespaces := c.cluster.core.Namespaces()
	if err := drop(ctx, namespaces.Delete, name, nil); err != nil {
		return judge(err, "deleting a namespace")
	}
	var left *corev1.Namespace
	err := await(ctx, namespaces, named(name), func(objects map[types.UID]*corev1.Namespace) (bool, error) {
		for _, left = range objects {
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return b.outcome(err, started, "waiting for a namespace to be gone",
			"namespace "+name+" was deleted but is not gone"+remaining(left))
	}
	c.clean.Store(true)
	return nil
}

// remaining says what keeps a namespace from going.
func remaining(n *corev1.Namespace) string {
	if n == nil {
		return ""
	}
	for _, condition := range n.Status.Conditions {
		if condition.Status == corev1.ConditionTrue {
			return fmt.Sprintf(" (%s: %s)", condition.Reason, condition.Message)
		}
	}
	return ""
}

// reap removes namespaces that checks left which were killed, and says so. It does not change the verdict: what was left
// behind says nothing about the cluster.
func (c *namespaceCheck) reap(ctx context.Context) string {
	namespaces := c.cluster.core.Namespaces()
	list, err := namespaces.List(ctx, metav1.ListOptions{LabelSelector: CheckerLabel + "=" + NamespaceChecker, Limit: 500})
	if err != nil {
		return reapNote("namespaces", 0, err, c.reapOff)
	}
	n, err := reap(ctx, pointers(list.Items), namespaces.Delete, c.reapOff)
	return reapNote("namespaces", n, err, c.reapOff)
}

func reapNote(what string, n int, err error, off bool) string {
	switch {
	case err != nil:
		return fmt.Sprintf("; removing %s that earlier checks left failed: %v", what, err)
	case n > 0 && off:
		return fmt.Sprintf("; earlier checks left %d %s, and RESOURCE_AUTO_REAP is false", n, what)
	case n > 0:
		return fmt.Sprintf("; %d %s that earlier checks left were removed", n, what)
	default:
		return ""
	}
}

// Cleanup removes the namespace when the check did not come to it.
func (c *namespaceCheck) Cleanup(ctx context.Context) error {
	if c.clean.Load() {
		return nil
	}
	return drop(ctx, c.cluster.core.Namespaces().Delete, c.identity.instance, nil)
}
