// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Reasons why a run could not judge. Each begins the message of an UNKNOWN result.
const (
	// ReasonImagePull surfaces when an image cannot be pulled.
	ReasonImagePull = "ImagePullBackOff"
	// ReasonContainerConfig surfaces when a container cannot be made from the template: a Secret is missing, or the image
	// runs as root and the template does not allow that.
	ReasonContainerConfig = "CreateContainerConfigError"
	// ReasonUnschedulable surfaces when no node takes the pod until the deadline.
	ReasonUnschedulable = "Unschedulable"
	// ReasonPodRefused surfaces when quota or admission refuses the pod.
	ReasonPodRefused = "PodRefused"
	// ReasonJobRefused surfaces when the API server refuses the Job: the template is invalid.
	ReasonJobRefused = "JobRefused"
	// ReasonElevationRefused surfaces when the pods would need more than Pod Security "restricted", and the agent is told to run
	// no such probes.
	ReasonElevationRefused = "ElevationRefused"
	// ReasonOOMKilled surfaces when a container exceeds its memory limit.
	ReasonOOMKilled = "OOMKilled"
	// ReasonEvicted surfaces when the pod is evicted or preempted.
	ReasonEvicted = "Evicted"
	// ReasonNodeLost surfaces when the node of the pod is gone or unreachable.
	ReasonNodeLost = "NodeLost"
	// ReasonPodDeleted surfaces when somebody removes the pod.
	ReasonPodDeleted = "PodDeleted"
	// ReasonJobDeleted surfaces when somebody removes the Job.
	ReasonJobDeleted = "JobDeleted"
	// ReasonDeadline surfaces when the run takes longer than it may.
	ReasonDeadline = "DeadlineExceeded"
	// ReasonExitCode surfaces when a container ends with an exit code that is no verdict: another than 0, 1 and 2, or one of a
	// container that says nothing, or that has reported.
	ReasonExitCode = "NonZeroExit"
	// ReasonNoReport surfaces when a container ends well and says nothing, or when its reports are refused.
	ReasonNoReport = "NoReport"
	// ReasonInvalidOutput surfaces when a container writes results as lines, and some of them cannot be understood.
	ReasonInvalidOutput = "InvalidOutput"
	// ReasonNoNode surfaces when a run for every node finds no node to go to.
	ReasonNoNode = "NoEligibleNode"
	// ReasonProbeNotFound surfaces when a one-time diagnosis names a Probe that does not exist.
	ReasonProbeNotFound = "ProbeNotFound"
)

// Verdict is what the state of a Job and its pod means.
type Verdict struct {
	// Ended tells that nothing more is to be expected of this Job.
	Ended bool
	// Reason why the Job could not judge; empty for one that ended well or has not ended.
	Reason string
	// Message says more than the reason.
	Message string
	// Container is where the log that explains the reason is; empty when no container has run.
	Container string
	// Exited tells that the containers of the pod came to their own end, so that their exit codes mean something.
	Exited bool
	// Refusal tells that there is no pod for longer than is usual: the Events of the Job may say why.
	Refusal bool
	// Homeless tells that the one node that the pod may go to has not taken it for longer than is usual: it may be lost.
	Homeless bool
	// Recheck is after how long to look again if nothing changes; 0 means that a change will come.
	Recheck time.Duration
}

func ended(reason, message, container string) Verdict {
	return Verdict{Ended: true, Reason: reason, Message: message, Container: container}
}

// Assess judges a Job by itself and by its newest pod, which is nil when there is none. grace is how long a pod may stay in a
// state that seldom heals before the run is given up.
func Assess(job *batchv1.Job, pod *corev1.Pod, deadline, now time.Time, grace time.Duration) Verdict {
	failed := jobCondition(job, batchv1.JobFailed)
	if failed == nil {
		failed = jobCondition(job, batchv1.JobFailureTarget)
	}
	left := deadline.Sub(now)
	switch {
	case left > 0 && unseenEnd(job, pod):
		// The end of the pod wakes us, and says what its containers had to say.
		return Verdict{Recheck: left}
	case !cutOff(pod) && (jobCondition(job, batchv1.JobComplete) != nil || pod != nil && pod.Status.Phase == corev1.PodSucceeded):
		return Verdict{Ended: true, Exited: true}
	case failed != nil && failed.Reason == batchv1.JobReasonDeadlineExceeded:
		return explainDeadline(pod)
	case failed != nil:
		return explainFailure(pod, failed.Message)
	case job.DeletionTimestamp != nil:
		return ended(ReasonJobDeleted, "the Job was removed before it ended", firstRunning(pod))
	case pod != nil && (pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded):
		return explainFailure(pod, pod.Status.Message)
	case left <= 0:
		return explainDeadline(pod)
	case pod == nil:
		return awaitPod(job, left, now, grace)
	case pod.DeletionTimestamp != nil:
		// Either its containers end or the Job fails; both wake us.
		return Verdict{Recheck: left}
	}
	if homeless := unschedulable(pod); homeless != nil {
		return assessHomeless(homeless, MetaOf(job).Node != "", left, now, grace)
	}
	return assessRunning(pod, left, now, grace)
}

// unseenEnd tells that Kubernetes has seen the pod of a Job succeed, and the cache has not yet.
func unseenEnd(job *batchv1.Job, pod *corev1.Pod) bool {
	return jobCondition(job, batchv1.JobComplete) != nil && pod != nil && pod.DeletionTimestamp == nil &&
		(pod.Status.Phase == corev1.PodPending || pod.Status.Phase == corev1.PodRunning)
}

func awaitPod(job *batchv1.Job, left time.Duration, now time.Time, grace time.Duration) Verdict {
	wait := grace - now.Sub(job.CreationTimestamp.Time)
	return Verdict{Refusal: wait <= 0, Recheck: min(left, max(wait, grace/2))}
}

// lastLook is how long before its deadline a run whose pod cannot start is given up. At the deadline Kubernetes removes the
// pod, and with it what it was waiting for.
const lastLook = 2 * time.Second

// assessHomeless judges a pod that the scheduler finds no node for. Room may come until the deadline; a node that is lost may stay
// so for long, and only one that is pinned to it waits for nothing else.
func assessHomeless(homeless *corev1.PodCondition, pinned bool, left time.Duration, now time.Time, grace time.Duration) Verdict {
	wait := left - lastLook
	switch {
	case wait <= 0:
		return ended(ReasonUnschedulable, homeless.Message, "")
	case !pinned:
		return Verdict{Recheck: wait}
	}
	patience := grace - now.Sub(homeless.LastTransitionTime.Time)
	return Verdict{Homeless: patience <= 0, Recheck: min(wait, max(patience, grace/2))}
}

func assessRunning(pod *corev1.Pod, left time.Duration, now time.Time, grace time.Duration) Verdict {
	stuck, since := findStuck(pod)
	wait := left - lastLook
	switch {
	case stuck == nil:
		return Verdict{Recheck: left}
	case !stuck.permanent:
		wait = min(wait, grace-now.Sub(since))
	default:
		wait = 0
	}
	if wait > 0 {
		return Verdict{Recheck: wait}
	}
	return ended(stuck.reason, stuck.message, firstRunning(pod))
}

// unschedulable is the condition that says why no node takes the pod, or nil.
func unschedulable(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c
		}
	}
	return nil
}

// explainDeadline says what the pod was doing when its time was over.
func explainDeadline(pod *corev1.Pod) Verdict {
	if pod == nil {
		return ended(ReasonDeadline, "no pod was made before the deadline", "")
	}
	if stuck, _ := findStuck(pod); stuck != nil {
		return ended(stuck.reason, stuck.message, firstRunning(pod))
	}
	if homeless := unschedulable(pod); homeless != nil {
		return ended(ReasonUnschedulable, homeless.Message, "")
	}
	if verdict, ok := explainDisruption(pod); ok {
		return verdict
	}
	return ended(ReasonDeadline, "the run took longer than it may and was stopped", firstRunning(pod))
}

// explainFailure says why a pod failed. said is what Kubernetes itself says.
func explainFailure(pod *corev1.Pod, said string) Verdict {
	if pod == nil {
		return ended(ReasonPodDeleted, "the pod was removed before it ended", "")
	}
	if verdict, ok := explainDisruption(pod); ok {
		return verdict
	}
	if pod.Status.Reason == "Evicted" || pod.Status.Reason == "Preempting" {
		return ended(ReasonEvicted, pod.Status.Message, firstRunning(pod))
	}
	if pod.Status.Reason == "DeadlineExceeded" {
		return ended(ReasonDeadline, pod.Status.Message, firstRunning(pod))
	}
	if pod.Status.Reason == "NodeLost" {
		return ended(ReasonNodeLost, pod.Status.Message, "")
	}
	if verdict, ok := explainContainers(pod); ok {
		return verdict
	}
	if said == "" {
		said = "the pod failed, and Kubernetes does not say why"
	}
	if pod.Status.Reason != "" {
		said = pod.Status.Reason + ": " + said
	}
	return ended(ReasonExitCode, said, firstRunning(pod))
}

// reasonOOM is what the kubelet says of a container that was killed for its memory.
const reasonOOM = "OOMKilled"

// explainContainers finds the container that made a pod fail. Sidecars cannot: they are killed when the others have ended.
func explainContainers(pod *corev1.Pod) (Verdict, bool) {
	initial, main := initStatuses(pod), pod.Status.ContainerStatuses
	all := slices.Concat(initial, main)
	for i := range all {
		if end := lastEnd(&all[i]); end != nil && end.Reason == reasonOOM {
			verdict := ended(ReasonOOMKilled, fmt.Sprintf("container %s exceeded its memory limit", all[i].Name), all[i].Name)
			// The others may have come to their own end.
			verdict.Exited = !cutOff(pod)
			return verdict, true
		}
	}
	if cutOff(pod) {
		return ended(ReasonPodDeleted, "the pod was removed before it ended", firstRunning(pod)), true
	}
	for i := range all {
		if end := lastEnd(&all[i]); end != nil && end.ExitCode != 0 {
			verdict := ended(ReasonExitCode, describeExit(all[i].Name, end), all[i].Name)
			// When an init container fails, the checkers have not run.
			verdict.Exited = i >= len(initial)
			return verdict, true
		}
	}
	return Verdict{}, false
}

// cutOff tells of a pod that was taken away before its containers had ended: they were told to stop, and an exit code of 0 says
// only that they did.
func cutOff(pod *corev1.Pod) bool {
	if pod == nil {
		return false
	}
	var at time.Time
	if pod.DeletionTimestamp != nil {
		// It is when the grace period ends.
		at = pod.DeletionTimestamp.Add(-time.Duration(ptr.Deref(pod.DeletionGracePeriodSeconds, 0)) * time.Second)
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && (at.IsZero() || c.LastTransitionTime.Time.Before(at)) {
			at = c.LastTransitionTime.Time
		}
	}
	return (pod.DeletionTimestamp != nil || !at.IsZero()) && slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		end := lastEnd(&s)
		return end == nil || !end.FinishedAt.Time.Before(at.Truncate(time.Second))
	})
}

// initStatuses are those of the init containers that run to their end before the others start.
func initStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	sidecar := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		sidecar[c.Name] = ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
	}
	return slices.DeleteFunc(slices.Clone(pod.Status.InitContainerStatuses), func(s corev1.ContainerStatus) bool { return sidecar[s.Name] })
}

// explainDisruption reads the condition that Kubernetes sets on a pod before it takes it away.
func explainDisruption(pod *corev1.Pod) (Verdict, bool) {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Reason == "DeletionByTaintManager" || c.Reason == "DeletionByPodGC" {
			return ended(ReasonNodeLost, fmt.Sprintf("node %s: %s", pod.Spec.NodeName, c.Message), ""), true
		}
		return ended(ReasonEvicted, c.Message, firstRunning(pod)), true
	}
	return Verdict{}, false
}

// describeExit says how a container ended, and what it left as its termination message.
func describeExit(container string, end *corev1.ContainerStateTerminated) string {
	text := describeCode(container, end)
	if end.Message != "" {
		text += ": " + end.Message
	}
	return text
}

func describeCode(container string, end *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("container %s ended with exit code %d", container, end.ExitCode)
	if end.Signal != 0 {
		text = fmt.Sprintf("container %s was ended by signal %d", container, end.Signal)
	}
	if end.Reason != "" && end.Reason != "Error" && end.Reason != "Completed" {
		text += " (" + end.Reason + ")"
	}
	return text
}

// stuck is a state of a container that seldom heals by itself.
type stuck struct {
	reason    string
	message   string
	permanent bool
}

// findStuck looks for such a container, and says since when it can have been waiting.
func findStuck(pod *corev1.Pod) (found *stuck, since time.Time) {
	if pod.Status.StartTime != nil {
		since = pod.Status.StartTime.Time
	}
	statuses := containerStatuses(pod)
	for i := range statuses {
		s := &statuses[i]
		if end := s.State.Terminated; end != nil && end.FinishedAt.After(since) {
			since = end.FinishedAt.Time
		}
		if waiting := s.State.Waiting; waiting != nil && found == nil {
			found = stuckBy(s.Name, waiting)
		}
	}
	return found, since
}

func stuckBy(container string, waiting *corev1.ContainerStateWaiting) *stuck {
	found := &stuck{message: fmt.Sprintf("container %s: %s", container, waiting.Message)}
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError":
		found.reason = ReasonImagePull
	case "InvalidImageName", "ErrImageNeverPull":
		found.reason, found.permanent = ReasonImagePull, true
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		found.reason = ReasonContainerConfig
	default:
		return nil
	}
	return found
}

func containerStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	all := make([]corev1.ContainerStatus, 0, len(pod.Status.InitContainerStatuses)+len(pod.Status.ContainerStatuses))
	return append(append(all, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

// lastEnd is how a container ended last; with restartPolicy OnFailure it may have been started again since.
func lastEnd(s *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if s.State.Terminated != nil {
		return s.State.Terminated
	}
	return s.LastTerminationState.Terminated
}

// firstRunning is the first container that has run or is running; empty when none has.
func firstRunning(pod *corev1.Pod) string {
	if pod == nil {
		return ""
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Running != nil || lastEnd(s) != nil {
			return s.Name
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		if s := &pod.Status.InitContainerStatuses[i]; s.State.Running != nil || lastEnd(s) != nil {
			return s.Name
		}
	}
	return ""
}

// JobFinished tells whether Kubernetes is done with a Job, and how it ended.
func JobFinished(job *batchv1.Job) (finished, succeeded bool) {
	if jobCondition(job, batchv1.JobComplete) != nil {
		return true, true
	}
	return jobCondition(job, batchv1.JobFailed) != nil, false
}

func jobCondition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if c := &job.Status.Conditions[i]; c.Type == kind && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
