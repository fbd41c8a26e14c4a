// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Typed is a copy of a run with its kind, which clients drop when they decode an object.
func Typed(run *kubeproberv1.ProbeRun) *kubeproberv1.ProbeRun {
	typed := run.DeepCopy()
	typed.TypeMeta = metav1.TypeMeta{APIVersion: kubeproberv1.GroupVersion.String(), Kind: "ProbeRun"}
	return typed
}

// TypedList is the list of runs with all kinds.
func TypedList(runs []kubeproberv1.ProbeRun) *kubeproberv1.ProbeRunList {
	list := &kubeproberv1.ProbeRunList{
		TypeMeta: metav1.TypeMeta{APIVersion: kubeproberv1.GroupVersion.String(), Kind: "ProbeRunList"},
		Items:    []kubeproberv1.ProbeRun{},
	}
	for i := range runs {
		list.Items = append(list.Items, *Typed(&runs[i]))
	}
	return list
}

// TypedItems are runs as objects of their own, for a printer that takes no lists.
func TypedItems(runs []kubeproberv1.ProbeRun) []runtime.Object {
	var objects []runtime.Object
	for i := range runs {
		objects = append(objects, Typed(&runs[i]))
	}
	return objects
}
