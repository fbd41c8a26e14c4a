// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
)

var now = time.Unix(10000, 0)

// setup is a run with one pod for each Job, and what its containers wrote.
type setup struct {
	jobs []*batchv1.Job
	pods []*corev1.Pod
	logs map[string]string
	// logError is what reading logs ends with.
	logError error
	// read are the logs that were asked for.
	read []string
}

// add adds a Job whose pod has ended with the given containers.
func (s *setup) add(node string, phase corev1.PodPhase, statuses ...corev1.ContainerStatus) *batchv1.Job {
	job := jobFor("kubeprober", "r", node)
	job.UID = types.UID("uid-" + node)
	job.Annotations[run.DeadlineAnnotation] = now.Add(time.Hour).UTC().Format(time.RFC3339)
	job.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: "pod-" + node,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: statuses},
	}
	s.jobs, s.pods = append(s.jobs, job), append(s.pods, pod)
	return job
}

func exited(name string, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, FinishedAt: metav1.NewTime(now.Add(-10 * time.Second)),
	}}}
}

func (s *setup) inspect(t *testing.T, heard ...string) Inspection {
	t.Helper()
	builder := fake.NewClientBuilder().WithIndex(&corev1.Pod{}, jobIndex, func(o client.Object) []string {
		return []string{string(metav1.GetControllerOf(o).UID)}
	})
	for i := range s.jobs {
		builder = builder.WithObjects(s.jobs[i].DeepCopy(), s.pods[i].DeepCopy())
	}
	c := builder.Build()
	logs := make(chan string, 100)
	r := &Runner{
		Client: c, Live: c, Attempts: NewAttempts(c), Grace: time.Minute, Clock: clocktesting.NewFakePassiveClock(now),
		Logs: func(_ context.Context, pod *corev1.Pod, container string) (string, bool, error) {
			logs <- pod.Name + "/" + container
			return s.logs[container], false, s.logError
		},
	}
	inspection, err := r.Inspect(t.Context(), Group{RunID: "r", Jobs: s.jobs}, func(node string) bool {
		for _, h := range heard {
			if h == node {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	close(logs)
	for log := range logs {
		s.read = append(s.read, log)
	}
	return inspection
}

func told(results []report.Checker) string {
	var texts []string
	for _, c := range results {
		texts = append(texts, fmt.Sprintf("%s=%s:%s", c.Name, c.Status, c.Message))
	}
	return strings.Join(texts, " ")
}

func TestHowARunEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		phase    corev1.PodPhase
		statuses []corev1.ContainerStatus
		logs     map[string]string
		change   func(*batchv1.Job, *corev1.Pod)
		heard    bool

		results, gap, failure, fault string
		// reads is how many logs are read.
		reads int
	}{
		"by its exit code and output": {
			phase: corev1.PodFailed, statuses: []corev1.ContainerStatus{exited("c", 1)}, logs: map[string]string{"c": "dns\nis down\n"},
			results: "c=ERROR:is down", failure: "NonZeroExit: container c ended with exit code 1 [dns | is down]", reads: 1,
		},
		"by lines": {
			phase: corev1.PodSucceeded, statuses: []corev1.ContainerStatus{exited("c", 0)}, logs: map[string]string{"c": "dns ok\netcd warn slow\n"},
			results: "dns=PASS: etcd=WARN:slow", reads: 1,
		},
		"in silence": {phase: corev1.PodSucceeded, statuses: []corev1.ContainerStatus{exited("c", 0)}, gap: "NoReport: container c", reads: 1},
		"by a refused report, whatever it wrote": {
			phase: corev1.PodFailed, statuses: []corev1.ContainerStatus{exited("c", 1)}, logs: map[string]string{"c": "a ok\n400 Bad Request\n"},
			change: func(job *batchv1.Job, _ *corev1.Pod) { job.Annotations[attemptAnnotation] = "400 parsing report" },
			gap:    "NoReport: no report was taken, and one was refused: 400 parsing report", failure: "NonZeroExit: container c ended with exit code 1 [a ok | 400 Bad Request]", reads: 1,
		},
		"by reports: its log is not read": {phase: corev1.PodSucceeded, statuses: []corev1.ContainerStatus{exited("c", 0)}, heard: true, gap: "NoReport: no result of this run is known any more"},
		"by reports and a failure": {
			phase: corev1.PodFailed, statuses: []corev1.ContainerStatus{exited("c", 3)}, logs: map[string]string{"c": "panic"}, heard: true,
			gap: "NoReport: no result", failure: "NonZeroExit: container c ended with exit code 3 [panic]", reads: 1,
		},
		"by the kubelet, with the log until then": {
			phase: corev1.PodFailed, statuses: []corev1.ContainerStatus{exited("c", 137)}, logs: map[string]string{"c": "dns ok\nreading\n"},
			change: func(_ *batchv1.Job, pod *corev1.Pod) {
				pod.Status.ContainerStatuses[0].State.Terminated.Reason = "OOMKilled"
			},
			results: "dns=PASS:", fault: "OOMKilled: container c exceeded its memory limit [dns ok | reading]", reads: 1,
		},
		"by a lost node, whose logs are not asked for": {
			phase: corev1.PodFailed, statuses: []corev1.ContainerStatus{exited("c", 137)},
			change: func(_ *batchv1.Job, pod *corev1.Pod) {
				pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager", Message: "gone"}}
			},
			fault: "NodeLost: node : gone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &setup{logs: tc.logs}
			job := s.add("", tc.phase, tc.statuses...)
			if tc.change != nil {
				tc.change(job, s.pods[0])
			}
			var heard []string
			if tc.heard {
				heard = []string{""}
			}
			ending := s.inspect(t, heard...).Ending
			if ending == nil {
				t.Fatal("the run has not ended")
			}
			statement := ending.Statements[""]
			var fault record.Gap
			if len(ending.Gaps) > 0 {
				fault = ending.Gaps[0]
			}
			show := func(g record.Gap) string {
				text := g.Reason + ": " + g.Message
				if g.Log != "" {
					text += " [" + g.Log + "]"
				}
				return strings.TrimPrefix(text, ": ")
			}
			for what, pair := range map[string][2]string{
				"results": {told(statement.Results), tc.results}, "gap": {show(statement.Gap), tc.gap},
				"failure": {show(statement.Failure), tc.failure}, "fault": {show(fault), tc.fault},
			} {
				if !strings.HasPrefix(pair[0], pair[1]) || pair[1] == "" && pair[0] != "" {
					t.Errorf("%s: got %q, want %q", what, pair[0], pair[1])
				}
			}
			if len(s.read) != tc.reads {
				t.Errorf("the logs %v were read", s.read)
			}
		})
	}
}

func TestALogThatCannotBeReadIsWaitedForAWhile(t *testing.T) {
	s := &setup{logError: errors.New("dial tcp: i/o timeout")}
	s.add("", corev1.PodSucceeded, exited("c", 0))
	if got := s.inspect(t); got.Ending != nil || got.Recheck != 15*time.Second {
		t.Errorf("got %+v", got)
	}
	s.pods[0].Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.NewTime(now.Add(-time.Minute))
	got := s.inspect(t)
	if got.Ending == nil || !strings.Contains(got.Ending.Statements[""].Gap.Message, "its log cannot be read: dial tcp") {
		t.Errorf("got %+v", got.Ending)
	}
}

func TestAnEndThatIsNotSeenYetIsWaitedFor(t *testing.T) {
	s := &setup{}
	running := corev1.ContainerStatus{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	job := s.add("", corev1.PodRunning, running)
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	if got := s.inspect(t); got.Ending != nil || got.Recheck != time.Hour {
		t.Errorf("before the deadline: got %+v", got)
	}
	job.Annotations[run.DeadlineAnnotation] = now.UTC().Format(time.RFC3339)
	got := s.inspect(t)
	if got.Ending == nil || got.Ending.Statements[""].Gap.Reason != run.ReasonNoReport {
		t.Errorf("at the deadline: got %+v, a run without a result", got.Ending)
	}
}

func TestANodeWhoseJobWasRemovedIsExplained(t *testing.T) {
	nodes := []string{"n1", "n2", "n3", "n4", "n5"}
	for name, tc := range map[string]struct {
		removed []int
		want    []record.Gap
	}{
		"nothing is missing": {},
		"one of the others":  {removed: []int{4}, want: []record.Gap{{Node: "n5", Reason: run.ReasonJobDeleted}}},
		"one that lists all": {removed: []int{0, 3}, want: []record.Gap{{Node: "n1", Reason: run.ReasonJobDeleted}, {Node: "n4", Reason: run.ReasonJobDeleted}}},
		"all that list all":  {removed: []int{0, 1, 2}, want: []record.Gap{{Reason: run.ReasonJobDeleted, Message: "3 of the Jobs for 5 nodes were removed before they ended"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &setup{}
			for i, node := range nodes {
				job := s.add(node, corev1.PodSucceeded, exited("c", 0))
				for key, value := range placement(nodes, i, "") {
					job.Annotations[key] = value
				}
			}
			for i := len(tc.removed) - 1; i >= 0; i-- {
				at := tc.removed[i]
				s.jobs, s.pods = append(s.jobs[:at], s.jobs[at+1:]...), append(s.pods[:at], s.pods[at+1:]...)
			}
			ending := s.inspect(t, nodes...).Ending
			if ending == nil || len(ending.Gaps) != len(tc.want) || len(ending.Nodes) != len(nodes)-len(tc.removed) {
				t.Fatalf("got %+v", ending)
			}
			for i, want := range tc.want {
				got := ending.Gaps[i]
				if got.Node != want.Node || got.Reason != want.Reason || want.Message != "" && got.Message != want.Message {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
}

func TestTheEndOfALogIsKept(t *testing.T) {
	whole := strings.Repeat("0123456789abcde\n", report.MaxOutputBytes/16)
	for name, tc := range map[string]struct {
		log  io.Reader
		want string
		cut  bool
		fail bool
	}{
		"nothing":               {log: strings.NewReader("")},
		"a short log":           {log: strings.NewReader("a ok\n"), want: "a ok\n"},
		"byte by byte":          {log: iotest.OneByteReader(strings.NewReader("a ok\nb")), want: "a ok\nb"},
		"as much as is kept":    {log: strings.NewReader(strings.ReplaceAll(whole, "\n", " ")), want: strings.ReplaceAll(whole, "\n", " ")},
		"a byte more":           {log: strings.NewReader("x" + strings.ReplaceAll(whole, "\n", " ")), want: strings.ReplaceAll(whole, "\n", " "), cut: true},
		"a mebibyte":            {log: strings.NewReader(strings.Repeat("x", 1<<20) + "the end"), want: strings.Repeat("x", report.MaxOutputBytes-7) + "the end", cut: true},
		"as many lines as read": {log: strings.NewReader(strings.Repeat("\n", tailLinesRead)), want: strings.Repeat("\n", tailLinesRead), cut: true},
		"one that breaks off":   {log: iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc"))), fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			text, cut, err := readEnd(tc.log)
			if text != tc.want || cut != tc.cut || (err != nil) != tc.fail {
				t.Errorf("%d bytes, cut %v, %v", len(text), cut, err)
			}
		})
	}
}
