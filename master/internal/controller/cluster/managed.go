// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// managed reads and writes the master's objects in one managed cluster. It changes nothing that lacks the master's label.
type managed struct {
	client    client.Client
	namespace string
}

func isManaged(object client.Object) bool {
	return object.GetLabels()[kubeproberv1.ManagedByLabel] == kubeproberv1.ManagedByMaster
}

// metadataOf lists the metadata of all objects of a kind in the namespace, by name.
func (m managed) metadataOf(ctx context.Context, kind string, options ...client.ListOption) (map[string]client.Object, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kubeproberv1.GroupVersion.WithKind(kind + "List"))
	if err := m.client.List(ctx, list, append(options, client.InNamespace(m.namespace))...); err != nil {
		return nil, fmt.Errorf("listing the %ss of the managed cluster: %w", kind, err)
	}
	byName := make(map[string]client.Object, len(list.Items))
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(kubeproberv1.GroupVersion.WithKind(kind))
		byName[list.Items[i].Name] = &list.Items[i]
	}
	return byName, nil
}

// probes lists the metadata of all Probes, the cluster's own included.
func (m managed) probes(ctx context.Context) (map[string]client.Object, error) {
	return m.metadataOf(ctx, "Probe")
}

func (m managed) applyProbe(ctx context.Context, probe *kubeproberv1.Probe) error {
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&probe.Spec)
	if err != nil {
		return fmt.Errorf("converting Probe %s: %w", probe.Name, err)
	}
	object := m.object(kubeproberv1.GroupVersion.WithKind("Probe"), probe.Name)
	object.Object["spec"] = spec
	return m.apply(ctx, object)
}

// applyExtraConfig writes the ConfigMap with the extraInfo, or removes it when there is none. taken tells that the
// cluster has a ConfigMap of its own by that name.
func (m managed) applyExtraConfig(ctx context.Context, info []kubeproberv1.ExtraVar) (taken bool, err error) {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	err = m.client.Get(ctx, client.ObjectKey{Namespace: m.namespace, Name: kubeproberv1.ExtraConfigName}, found)
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading ConfigMap %s of the managed cluster: %w", kubeproberv1.ExtraConfigName, err)
	}
	switch {
	case exists && !isManaged(found):
		return len(info) > 0, nil
	case exists && len(info) == 0:
		return false, m.delete(ctx, found)
	case len(info) == 0:
		return false, nil
	}
	data := make(map[string]any, len(info))
	for _, variable := range info {
		data[variable.Name] = variable.Value
	}
	object := m.object(corev1.SchemeGroupVersion.WithKind("ConfigMap"), kubeproberv1.ExtraConfigName)
	object.Object["data"] = data
	return false, m.apply(ctx, object)
}

func (m managed) object(gvk schema.GroupVersionKind, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(gvk)
	object.SetNamespace(m.namespace)
	object.SetName(name)
	object.SetLabels(map[string]string{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster})
	return object
}

func (m managed) apply(ctx context.Context, object *unstructured.Unstructured) error {
	err := m.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(FieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("applying %s %s in the managed cluster: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// delete removes exactly the object that was seen, and is content when it is gone.
func (m managed) delete(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	err := m.client.Delete(ctx, object, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s in the managed cluster: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
	}
	return nil
}

// cleanUp removes all that the master wrote.
func (m managed) cleanUp(ctx context.Context) error {
	mine := client.MatchingLabels{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster}
	for _, kind := range []string{"ProbeRun", "Probe"} {
		objects, err := m.metadataOf(ctx, kind, mine)
		if err != nil {
			return err
		}
		for _, object := range objects {
			if err := m.delete(ctx, object); err != nil {
				return err
			}
		}
	}
	_, err := m.applyExtraConfig(ctx, nil)
	return err
}
