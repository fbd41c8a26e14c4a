// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/probers/environ"
)

const (
	// CheckerLabel is on everything that a checker creates and holds the checker's name.
	CheckerLabel = kubeproberv1.GroupName + "/checker"
	// InstanceLabel is on everything that one check creates; its value is unique to the check.
	InstanceLabel = kubeproberv1.GroupName + "/check"
	// DeadlineAnnotation is on everything that a checker creates: after that time, in RFC 3339, it is a leftover of a
	// check that was killed, and the next check removes it.
	DeadlineAnnotation = kubeproberv1.GroupName + "/check-deadline"

	// suffixLength is how many random characters make a name unique.
	suffixLength = 6
	// maxReaped bounds how many leftovers of one kind one check removes.
	maxReaped = 100
	// leftoverAge is when something without a readable deadline counts as a leftover.
	leftoverAge = 24 * time.Hour
)

// identity is what the objects of one check have in common.
type identity struct {
	checker   string
	instance  string
	namespace string
	run       string
	owner     *metav1.OwnerReference
}

func newIdentity(env environ.Lookup, checkerName, baseName string) identity {
	return identity{
		checker:   checkerName,
		instance:  baseName + "-" + utilrand.String(suffixLength),
		namespace: namespaceOf(env),
		run:       env(report.EnvRunID),
	}
}

// namespaceOf is the namespace that the pod of the check runs in.
func namespaceOf(env environ.Lookup) string {
	if namespace := env(report.EnvProbeNamespace); namespace != "" {
		return namespace
	}
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return metav1.NamespaceDefault
	}
	return strings.TrimSpace(string(data))
}

// meta is the metadata of an object of the check. The instance is also its name.
func (i identity) meta(deadline time.Time) metav1.ObjectMeta {
	labels := maps.Clone(i.podLabels())
	if i.run != "" && len(validation.IsValidLabelValue(i.run)) == 0 {
		labels[kubeproberv1.RunIDLabel] = i.run
	}
	meta := metav1.ObjectMeta{
		Name:        i.instance,
		Labels:      labels,
		Annotations: map[string]string{DeadlineAnnotation: deadline.UTC().Format(time.RFC3339)},
	}
	if i.owner != nil {
		meta.OwnerReferences = []metav1.OwnerReference{*i.owner}
	}
	return meta
}

// podLabels are the labels of the check's pods. They do not hold the ID of the run: the agent counts pods that do as
// pods of the run itself.
func (i identity) podLabels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/managed-by": "kubeprober",
		CheckerLabel:                   i.checker,
		InstanceLabel:                  i.instance,
	}
}

func (i identity) selector() string { return InstanceLabel + "=" + i.instance }

// ownedBy makes a reference to the pod of the check, so that the garbage collector removes what a killed check left.
func ownedBy(pod *corev1.Pod) *metav1.OwnerReference {
	return &metav1.OwnerReference{
		APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID, BlockOwnerDeletion: ptr.To(false),
	}
}

// leftover tells whether an object was made by a check that can no longer be running.
func leftover(object metav1.Object, now time.Time) bool {
	if object.GetDeletionTimestamp() != nil {
		return false
	}
	deadline, err := time.Parse(time.RFC3339, object.GetAnnotations()[DeadlineAnnotation])
	if err != nil {
		return now.Sub(object.GetCreationTimestamp().Time) > leftoverAge
	}
	return now.After(deadline)
}

// deleter deletes objects of one kind.
type deleter func(ctx context.Context, name string, options metav1.DeleteOptions) error

// reap deletes those of the objects that are leftovers, and returns how many. With reaping switched off it only counts.
func reap[T metav1.Object](ctx context.Context, objects []T, remove deleter, off bool) (int, error) {
	var count int
	var failures []error
	for _, object := range objects {
		if !leftover(object, time.Now()) || count == maxReaped {
			continue
		}
		count++
		if off {
			continue
		}
		if err := drop(ctx, remove, object.GetName(), metav1.NewUIDPreconditions(string(object.GetUID()))); err != nil {
			failures = append(failures, err)
		}
	}
	return count, errors.Join(failures...)
}

// drop deletes an object; the garbage collector then deletes what it owns. One that is not there is fine.
func drop(ctx context.Context, remove deleter, name string, only *metav1.Preconditions) error {
	err := remove(ctx, name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground), Preconditions: only,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}

// pointers makes the items of a list usable as objects.
func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}
