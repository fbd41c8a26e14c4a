// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	justNow := now.Add(-time.Second)
	late := justNow.Add(heartbeat.LateAfter)
	probe := func(name string, status kubeproberv1.CheckerStatus, stale time.Duration) kubeproberv1.ClusterProbeStatus {
		p := kubeproberv1.ClusterProbeStatus{Name: name, Status: status, Total: 2}
		if status == kubeproberv1.CheckerError {
			p.Error = 1
		}
		if stale != 0 {
			p.StaleTime = &metav1.Time{Time: now.Add(stale)}
		}
		return p
	}
	pass, failing, unknown, warn := kubeproberv1.CheckerPass, kubeproberv1.CheckerError, kubeproberv1.CheckerUnknown, kubeproberv1.CheckerWarn
	for _, test := range []struct {
		name         string
		disconnected bool
		heard        time.Time
		wanted       []string
		probes       []kubeproberv1.ClusterProbeStatus
		want         metav1.ConditionStatus
		reason       string
		until        time.Time
	}{
		{
			name: "all pass", heard: justNow, wanted: []string{"a", "b"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", pass, 0), probe("b", pass, time.Hour)},
			want: metav1.ConditionTrue, reason: kubeproberv1.ClusterCheckersPassReason, until: late,
		},
		{
			name: "a warning is no failure", heard: justNow, wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", warn, 0)},
			want: metav1.ConditionTrue, reason: kubeproberv1.ClusterCheckersPassReason, until: late,
		},
		{
			name: "one error fails the cluster, whatever the others are", heard: justNow, wanted: []string{"a", "b", "c"},
			probes: []kubeproberv1.ClusterProbeStatus{probe("a", failing, time.Second), probe("b", unknown, 0)},
			want:   metav1.ConditionFalse, reason: kubeproberv1.ClusterCheckersFailReason, until: now.Add(time.Second),
		},
		{
			name: "an old error is not called broken", heard: justNow, wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", failing, -time.Second)},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterResultsStaleReason, until: late,
		},
		{
			name: "a pass is stale at its very time", heard: justNow, wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{{Name: "a", Status: pass, StaleTime: &metav1.Time{Time: now}}},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterResultsStaleReason, until: late,
		},
		{
			name: "an attached probe that has not reported keeps the rest from passing", heard: justNow, wanted: []string{"a", "b"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", pass, 0), probe("b", "", 0)},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterAwaitingResultsReason, until: late,
		},
		{
			name: "what could not be checked is unknown", heard: justNow, wanted: []string{"a", "b"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", pass, 0), probe("b", unknown, 0)},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterCheckersUnknownReason, until: late,
		},
		{
			name: "an unknown checker hides behind a warning no more than behind a pass", heard: justNow, wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{{Name: "a", Status: warn, Total: 2, Unknown: 1}},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterCheckersUnknownReason, until: late,
		},
		{
			name: "probes that are not attached do not count", heard: justNow, probes: []kubeproberv1.ClusterProbeStatus{probe("own", failing, 0)},
			want: metav1.ConditionTrue, reason: kubeproberv1.ClusterNoProbesReason, until: late,
		},
		{
			name: "without a tunnel nothing is known", disconnected: true, heard: justNow, wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", pass, 0)},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterDisconnectedReason,
		},
		{
			name: "an agent that was never heard is awaited", wanted: []string{"a"},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterAwaitingHeartbeatReason,
		},
		{
			name: "three silent intervals are too long", heard: now.Add(-heartbeat.LateAfter), wanted: []string{"a"}, probes: []kubeproberv1.ClusterProbeStatus{probe("a", failing, 0)},
			want: metav1.ConditionUnknown, reason: kubeproberv1.ClusterHeartbeatLateReason,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judge(now, !test.disconnected, test.heard, test.wanted, test.probes)
			if got.status != test.want || got.reason != test.reason {
				t.Errorf("judged %s %s (%s), want %s %s", got.status, got.reason, got.message, test.want, test.reason)
			}
			if !got.until.Equal(test.until) {
				t.Errorf("holds until %s, want %s", got.until, test.until)
			}
			if got.message == "" {
				t.Error("there is no message")
			}
		})
	}
}
