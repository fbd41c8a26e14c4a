// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// What a Job says of the Probe or ProbeRun that it belongs to. Owner references do not cross namespaces, and a Job may be in
// another one than its owner. Pods carry the labels as well.
const (
	// OwnerKindLabel holds the kind of the owner.
	OwnerKindLabel = kubeproberv1.GroupName + "/owner-kind"
	// OwnerNamespaceLabel holds the namespace of the owner, which is that of the agent.
	OwnerNamespaceLabel = kubeproberv1.GroupName + "/owner-namespace"
	// OwnerNameLabel holds the name of the owner; one longer than 63 characters is cut and made unique.
	OwnerNameLabel = kubeproberv1.GroupName + "/owner-name"
	// OwnerUIDLabel holds the UID of the owner.
	OwnerUIDLabel = kubeproberv1.GroupName + "/owner-uid"
	// OwnerNameAnnotation holds the whole name of the owner.
	OwnerNameAnnotation = OwnerNameLabel
)

// Owner is the Probe or ProbeRun that a Job belongs to.
type Owner struct {
	Kind string
	types.NamespacedName
	UID types.UID
}

// OwnerOf tells whom a Job belongs to; the UID is empty when it belongs to nobody that the agent knows.
func OwnerOf(job metav1.Object) Owner {
	labels := job.GetLabels()
	if uid := labels[OwnerUIDLabel]; uid != "" {
		name := types.NamespacedName{Namespace: labels[OwnerNamespaceLabel], Name: job.GetAnnotations()[OwnerNameAnnotation]}
		return Owner{Kind: labels[OwnerKindLabel], NamespacedName: name, UID: types.UID(uid)}
	}
	// An earlier agent wrote the reference only, into the namespace of the owner.
	controller := metav1.GetControllerOfNoCopy(job)
	if controller == nil {
		return Owner{}
	}
	name := types.NamespacedName{Namespace: job.GetNamespace(), Name: controller.Name}
	return Owner{Kind: controller.Kind, NamespacedName: name, UID: controller.UID}
}

func ownerLabels(r *Run) map[string]string {
	return map[string]string{
		OwnerKindLabel: r.Owner.Kind, OwnerNamespaceLabel: r.Namespace, OwnerNameLabel: LabelValue(r.Owner.Name), OwnerUIDLabel: string(r.Owner.UID),
	}
}

// ownerReferences let the garbage collector remove the Jobs that are in the namespace of their owner.
func ownerReferences(r *Run) []metav1.OwnerReference {
	if r.jobNamespace() != r.Namespace {
		return nil
	}
	return []metav1.OwnerReference{r.Owner}
}
