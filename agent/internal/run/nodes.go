// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// MaxNodes bounds the nodes that one run goes to.
const MaxNodes = 500

// LeftOut is a node that a run does not go to, and why.
type LeftOut struct{ Node, Why string }

// NodeFits tells whether a template may run on a node; why not is empty when it may. A node that the template does not select
// is no business of the probe: selected is false, and nobody needs to be told.
func NodeFits(template *corev1.PodSpec, node *corev1.Node) (selected bool, whyNot string) {
	matches, err := nodeaffinity.NewRequiredNodeAffinity(template.NodeSelector, template.Affinity).Match(node)
	if err != nil {
		return true, fmt.Sprintf("node affinity of the template: %v", err)
	}
	if !matches {
		return false, ""
	}
	if node.DeletionTimestamp != nil {
		return true, "being removed"
	}
	if node.Spec.Unschedulable && !toleratesCordon(template) {
		return true, "cordoned"
	}
	hinders := func(taint *corev1.Taint) bool {
		// The taint of a cordon was judged above. The taints of a node that is not ready say something about the node that
		// is worth a result, UNKNOWN with the reason, and not an absence.
		return taint.Key != corev1.TaintNodeUnschedulable && taint.Key != corev1.TaintNodeNotReady && taint.Key != corev1.TaintNodeUnreachable &&
			(taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute)
	}
	if taint, found := schedulinghelper.FindMatchingUntoleratedTaint(klog.Background(), node.Spec.Taints, template.Tolerations, hinders, false); found {
		return true, "taint " + taint.ToString()
	}
	return true, ""
}

func toleratesCordon(template *corev1.PodSpec) bool {
	cordon := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	return schedulinghelper.TolerationsTolerateTaint(klog.Background(), template.Tolerations, &cordon, false)
}

// LostBecause says why nothing can be expected of a node, in the words of its condition; empty when it is ready.
func LostBecause(node *corev1.Node) string {
	for _, c := range node.Status.Conditions {
		switch {
		case c.Type != corev1.NodeReady:
		case c.Status == corev1.ConditionTrue:
			return ""
		default:
			return fmt.Sprintf("not ready since %s: %s: %s", c.LastTransitionTime.UTC().Format(time.RFC3339), c.Reason, c.Message)
		}
	}
	return "it has never been ready"
}

// pinToNode lets the scheduler put the pod on one node only. The scheduler still decides, so that a full or dead node shows as
// Unschedulable with its words.
func pinToNode(spec *corev1.PodSpec, node string) {
	pin := corev1.NodeSelectorRequirement{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node}}
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	affinity := spec.Affinity.NodeAffinity
	if affinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		affinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{}
	}
	required := affinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(required.NodeSelectorTerms) == 0 {
		required.NodeSelectorTerms = []corev1.NodeSelectorTerm{{}}
	}
	// Terms are alternatives: each of them must hold the pin.
	for i := range required.NodeSelectorTerms {
		term := &required.NodeSelectorTerms[i]
		term.MatchFields = append(term.MatchFields, pin)
	}
}
