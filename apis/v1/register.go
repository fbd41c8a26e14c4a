// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all kinds of Kubeprober.
const GroupName = "kubeprober.erda.cloud"

// GroupVersion is the only served version of the group.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1"}

// AddToScheme registers the kinds of this package with a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Cluster{}, &ClusterList{},
		&Probe{}, &ProbeList{},
		&ProbeStatus{}, &ProbeStatusList{},
		&ProbeRun{}, &ProbeRunList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Resource qualifies an unqualified resource name with the group.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}
