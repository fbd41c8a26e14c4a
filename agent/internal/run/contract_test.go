// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/apis/report"
)

// speaker is a container that ended with an exit code.
func speaker(name string, code int32, message, log string) Speaker {
	return Speaker{Container: name, Log: log, End: &corev1.ContainerStateTerminated{
		ExitCode: code, Message: message, FinishedAt: metav1.Unix(1000, 0), Reason: map[bool]string{true: "Completed", false: "Error"}[code == 0],
	}}
}

func TestWhatContainersSayWithoutAReport(t *testing.T) {
	oom := speaker("c", 137, "", "a ok\n")
	oom.End.Reason = "OOMKilled"
	unread := speaker("c", 0, "", "")
	unread.LogError = "connection refused"
	long := speaker("c", 0, "", "a ok\n")
	long.LogCut = true
	for name, tc := range map[string]struct {
		speakers []Speaker
		// killed tells that Kubernetes ended the pod.
		killed bool
		want   string
		reason string
		says   string
	}{
		"exit code 0 is PASS":    {speakers: []Speaker{speaker("c", 0, "", "connecting\nall is well\n\n")}, want: "c=PASS:all is well"},
		"exit code 1 is ERROR":   {speakers: []Speaker{speaker("c", 1, "", "it broke")}, want: "c=ERROR:it broke"},
		"exit code 2 is UNKNOWN": {speakers: []Speaker{speaker("c", 2, "", "no rights")}, want: "c=UNKNOWN:no rights"},
		"the termination message goes before the log": {
			speakers: []Speaker{speaker("c", 1, "dns is down\n", "noise\n")}, want: "c=ERROR:dns is down",
		},
		"another exit code is no verdict": {
			speakers: []Speaker{speaker("c", 3, "", "x")}, reason: ReasonExitCode, says: "container c ended with exit code 3",
		},
		"a signal is no verdict": {speakers: []Speaker{speaker("c", 137, "", "x")}, reason: ReasonExitCode, says: "exit code 137"},
		"silence that ends well": {
			speakers: []Speaker{speaker("c", 0, "", " \n\x00\n")}, reason: ReasonNoReport,
			says: "reported nothing and wrote nothing: a checker posts to KUBEPROBER_STATUS_REPORT_URL, or writes why and exits with 0",
		},
		"silence that ends badly": {
			speakers: []Speaker{speaker("c", 1, "", "")}, reason: ReasonExitCode, says: "container c ended with exit code 1, reported nothing and wrote nothing",
		},
		"a log that cannot be read": {speakers: []Speaker{unread}, reason: ReasonNoReport, says: "its log cannot be read: connection refused"},
		"every container for itself": {
			speakers: []Speaker{speaker("a", 0, "", "fine"), speaker("b", 1, "", "bad"), speaker("c", 0, "", "")},
			want:     "a=PASS:fine b=ERROR:bad", reason: ReasonNoReport, says: "container c",
		},
		"several that say nothing are all told": {
			speakers: []Speaker{speaker("a", 0, "", ""), speaker("b", 9, "", "")}, reason: ReasonNoReport, says: "; container b ended with exit code 9",
		},
		"lines are results": {
			speakers: []Speaker{speaker("c", 0, "", "starting\na ok\nb error x\n")}, want: "a=PASS: b=ERROR:x",
		},
		"lines in the termination message": {speakers: []Speaker{speaker("c", 0, "a ok\nb warn y", "d error z\n")}, want: "a=PASS: b=WARN:y"},
		"lines beside a plain termination message": {
			speakers: []Speaker{speaker("c", 0, "done", "a ok\n")}, want: "a=PASS:",
		},
		"lines and exit code 1 with an error": {speakers: []Speaker{speaker("c", 1, "", "a error x\n")}, want: "a=ERROR:x"},
		"lines and exit code 1 without one": {
			speakers: []Speaker{speaker("c", 1, "", "a ok\n")}, want: "a=PASS:", reason: ReasonExitCode, says: "none of its lines says error",
		},
		"lines and exit code 2": {
			speakers: []Speaker{speaker("c", 2, "", "a ok\n")}, want: "a=PASS:", reason: ReasonExitCode, says: "exit code 2",
		},
		"lines of which one is no result": {
			speakers: []Speaker{speaker("c", 0, "", "a ok\nb failed badly\n")}, want: "a=PASS:", reason: ReasonInvalidOutput, says: `"b failed badly"`,
		},
		"lines at the end of a long log": {
			speakers: []Speaker{long}, want: "a=PASS:", reason: ReasonInvalidOutput, says: "more than the 65536 bytes",
		},
		"one name in two containers": {
			speakers: []Speaker{speaker("c", 0, "", "a error x\n"), speaker("d", 0, "", "a ok\n")}, want: "a=ERROR:x",
		},
		"a pod that Kubernetes ended: exit codes mean nothing": {speakers: []Speaker{speaker("c", 1, "", "terminated\n")}, killed: true},
		"a pod that Kubernetes ended: lines count":             {speakers: []Speaker{speaker("c", 143, "", "a ok\n")}, killed: true, want: "a=PASS:"},
		"a container that still runs: lines count":             {speakers: []Speaker{{Container: "c", Log: "a ok\nb"}}, killed: true, want: "a=PASS:"},
		"a container that was out of memory: lines count":      {speakers: []Speaker{oom, speaker("d", 0, "", "fine")}, want: "a=PASS: d=PASS:fine"},
		"a pod that is gone":                                   {reason: ReasonNoReport, says: "their pod is gone"},
		"a pod that is gone, and Kubernetes says why":          {killed: true},
		"colours and a mebibyte of text": {
			speakers: []Speaker{speaker("c", 1, "", "\x1b[31m"+strings.Repeat("x", 1<<20))}, want: "c=ERROR:" + strings.Repeat("x", 1023) + "…",
		},
		"bytes that are no text": {speakers: []Speaker{speaker("c", 1, "\xff\xfe down", "")}, want: "c=ERROR:\ufffd down"},
	} {
		t.Run(name, func(t *testing.T) {
			words := Listen(tc.speakers, !tc.killed)
			var got []string
			for _, c := range words.Results {
				got = append(got, fmt.Sprintf("%s=%s:%s", c.Name, c.Status, c.Message))
				if c.LastRun != nil && c.LastRun.Unix() != 1000 {
					t.Errorf("%s is of %v", c.Name, c.LastRun)
				}
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("got %.200s, want %.200s", text, tc.want)
			}
			if words.Reason != tc.reason || !strings.Contains(words.Message, tc.says) || tc.reason == "" && words.Message != "" {
				t.Errorf("missing %s: %q, want %s: %q", words.Reason, words.Message, tc.reason, tc.says)
			}
			if words.Unread != (tc.says == "its log cannot be read: connection refused") {
				t.Errorf("unread %v", words.Unread)
			}
			if r := (report.Report{Checkers: words.Results}); len(words.Results) > 0 {
				if err := r.Normalize(); err != nil {
					t.Errorf("results that are none: %v", err)
				}
			}
		})
	}
}

func TestWhyAPodFailed(t *testing.T) {
	now := metav1.Now()
	ended := func(name string, code int32, reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, FinishedAt: now,
		}}}
	}
	sidecar := corev1.Container{Name: "proxy", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}
	for name, tc := range map[string]struct {
		init, main []corev1.ContainerStatus
		spec       []corev1.Container
		deleted    *metav1.Time
		reason     string
		says       string
		exited     bool
	}{
		"its container": {main: []corev1.ContainerStatus{ended("c", 1, "Error")}, reason: ReasonExitCode, says: "container c ended with exit code 1", exited: true},
		"the second of its containers": {
			main: []corev1.ContainerStatus{ended("c", 0, "Completed"), ended("d", 2, "Error")}, reason: ReasonExitCode, says: "container d", exited: true,
		},
		"an init container, so that no checker has run": {
			spec: []corev1.Container{{Name: "prepare"}}, init: []corev1.ContainerStatus{ended("prepare", 1, "Error")},
			reason: ReasonExitCode, says: "container prepare ended with exit code 1",
		},
		"not the sidecar, which is killed when the others have ended": {
			spec: []corev1.Container{sidecar}, init: []corev1.ContainerStatus{ended("proxy", 137, "Error")},
			main: []corev1.ContainerStatus{ended("c", 1, "Error")}, reason: ReasonExitCode, says: "container c", exited: true,
		},
		"memory": {
			main: []corev1.ContainerStatus{ended("c", 0, "Completed"), ended("d", 137, "OOMKilled")}, reason: ReasonOOMKilled, says: "container d", exited: true,
		},
		"somebody who removed it": {main: []corev1.ContainerStatus{ended("c", 143, "Error")}, deleted: &now, reason: ReasonPodDeleted, says: "the pod was removed"},
		"its container, and it was removed later": {
			main: []corev1.ContainerStatus{ended("c", 1, "Error")}, deleted: ptr.To(metav1.NewTime(now.Add(time.Minute))),
			reason: ReasonExitCode, says: "container c", exited: true,
		},
		"something that Kubernetes does not tell": {
			main: []corev1.ContainerStatus{{Name: "c"}}, reason: ReasonExitCode, says: "does not say why",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: tc.deleted}, Spec: corev1.PodSpec{InitContainers: tc.spec},
				Status: corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: tc.init, ContainerStatuses: tc.main},
			}
			got := Assess(&batchv1.Job{}, pod, now.Add(time.Hour), now.Time, time.Minute)
			if !got.Ended || got.Reason != tc.reason || !strings.Contains(got.Message, tc.says) || got.Exited != tc.exited {
				t.Errorf("got %+v, want %s: %s", got, tc.reason, tc.says)
			}
		})
	}
}

func TestCheckersOfKuberhealthyFindTheirEnvironment(t *testing.T) {
	r := testRun(corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}, InitContainers: []corev1.Container{{Name: "i"}}})
	spec := BuildJob(r, "", "http://url", time.Unix(100, 0)).Spec.Template.Spec
	for _, c := range append(spec.Containers, spec.InitContainers...) {
		env := map[string]corev1.EnvVar{}
		for _, v := range c.Env {
			env[v.Name] = v
		}
		for name, want := range map[string]string{
			"KH_REPORTING_URL": "http://url", "KH_RUN_UUID": UUID("k8s-1"), "KH_CHECK_RUN_DEADLINE": "160",
		} {
			if env[name].Value != want {
				t.Errorf("container %s has %s=%q, want %q", c.Name, name, env[name].Value, want)
			}
		}
		if from := env["KH_POD_NAMESPACE"].ValueFrom; from == nil || from.FieldRef.FieldPath != "metadata.namespace" {
			t.Errorf("container %s does not get the namespace of its pod", c.Name)
		}
	}
	// Fixed: it must not change under checkers that run while the agent is updated.
	if got := UUID("k8s-1"); got != "4c008f16-8df3-559f-80ef-87be7aa963c5" || got == UUID("k8s-2") {
		t.Errorf("the UUID %s does not name the run", got)
	}
}

func TestARunIsOneAttemptWhateverTheTemplateSays(t *testing.T) {
	for _, policy := range []corev1.RestartPolicy{"", corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure, corev1.RestartPolicyAlways} {
		r := testRun(corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}, RestartPolicy: policy})
		if got := BuildJob(r, "", "http://url", time.Unix(100, 0)).Spec.Template.Spec.RestartPolicy; got != corev1.RestartPolicyNever {
			t.Errorf("%q becomes %s", policy, got)
		}
	}
}

func TestAContainerThatWasToldToStopHasNoVerdict(t *testing.T) {
	asked := metav1.Unix(1000, 0)
	grace := int64(30)
	for name, tc := range map[string]struct {
		finished   int64
		deleted    bool
		conditions []corev1.PodCondition
		job        []batchv1.JobCondition
		reason     string
		exited     bool
	}{
		"it ended by itself":                  {finished: 990, exited: true},
		"its pod was removed later":           {finished: 990, deleted: true, exited: true},
		"its pod was removed before":          {finished: 1003, deleted: true, reason: ReasonPodDeleted},
		"its pod was removed the same second": {finished: 1000, deleted: true, reason: ReasonPodDeleted},
		"its node was drained": {
			finished: 1003, deleted: true, reason: ReasonEvicted,
			conditions: []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", LastTransitionTime: asked}},
		},
		"the deadline came": {
			finished: 1003, deleted: true, reason: ReasonDeadline,
			job: []batchv1.JobCondition{{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonDeadlineExceeded}},
		},
		"and the Job is complete all the same": {
			finished: 1003, deleted: true, reason: ReasonPodDeleted,
			job: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded, Conditions: tc.conditions, ContainerStatuses: []corev1.ContainerStatus{{
				Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Unix(tc.finished, 0)}},
			}}}}
			if tc.deleted {
				pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.Unix(asked.Unix()+grace, 0)), &grace
			}
			job := &batchv1.Job{Status: batchv1.JobStatus{Conditions: tc.job}}
			got := Assess(job, pod, asked.Add(time.Hour), asked.Time, time.Minute)
			if !got.Ended || got.Reason != tc.reason || got.Exited != tc.exited {
				t.Errorf("got %+v, want %q, exited %v", got, tc.reason, tc.exited)
			}
		})
	}
}
