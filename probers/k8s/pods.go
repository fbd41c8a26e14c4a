// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hindrance is why a pod does not run.
type hindrance struct {
	// text names the reason as Kubernetes gives it.
	text string
	// ofCheck tells that the check itself is at fault (its image, its configuration), not the cluster.
	ofCheck bool
	// final tells that waiting cannot help.
	final bool
}

// imageReasons keep a container from starting and lie with the image or the configuration that the check was given.
var imageReasons = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
	"RegistryUnavailable", "SignatureValidationFailed", "CreateContainerConfigError", "RunContainerError",
}

// hindranceOf tells why a pod is not ready; ok is false when nothing says so.
func hindranceOf(pod *corev1.Pod) (h hindrance, ok bool) {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return hindrance{text: joined(pod.Status.Reason, pod.Status.Message)}, true
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if h, ok := containerHindrance(&status); ok {
			return h, true
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return hindrance{text: joined(condition.Reason, condition.Message)}, true
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil && !status.Ready {
			return hindrance{text: "the container runs but its readiness probe fails"}, true
		}
	}
	return hindrance{}, false
}

func containerHindrance(status *corev1.ContainerStatus) (hindrance, bool) {
	waiting, ended := status.State.Waiting, status.State.Terminated
	switch {
	case waiting != nil && slices.Contains(imageReasons, waiting.Reason):
		return hindrance{
			text:    joined(waiting.Reason, waiting.Message),
			ofCheck: true,
			final:   waiting.Reason == "InvalidImageName" || waiting.Reason == "ErrImageNeverPull",
		}, true
	case waiting != nil && waiting.Reason != "" && waiting.Reason != "ContainerCreating" && waiting.Reason != "PodInitializing":
		text := joined(waiting.Reason, waiting.Message)
		if last := status.LastTerminationState.Terminated; last != nil {
			text += fmt.Sprintf(" (last exit status %d, %s)", last.ExitCode, last.Reason)
		}
		return hindrance{text: text}, true
	case ended != nil && ended.ExitCode != 0:
		return hindrance{text: fmt.Sprintf("%s with exit status %d", ended.Reason, ended.ExitCode)}, true
	}
	return hindrance{}, false
}

// reasons puts the reasons of several pods into one text, each once, with the name of the first pod that has it.
func reasons(pods []*corev1.Pod) (text string, ofCheck bool) {
	seen := map[string]bool{}
	var parts []string
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods {
		h, ok := hindranceOf(pod)
		if !ok || seen[h.text] {
			continue
		}
		seen[h.text] = true
		ofCheck = ofCheck || h.ofCheck
		parts = append(parts, fmt.Sprintf("pod %s: %s", pod.Name, h.text))
	}
	return strings.Join(parts, "; "), ofCheck
}

func joined(reason, message string) string {
	if message == "" {
		return reason
	}
	return reason + ": " + message
}
