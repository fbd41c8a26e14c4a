// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	beats "github.com/kubeprober/kubeprober/master/internal/heartbeat"
)

func TestSyncIsBelievedUntilItIsOldOrContradicted(t *testing.T) {
	now := time.Now()
	full := func(prefix string) []string {
		names := make([]string, heartbeat.MaxProbes)
		for i := range names {
			names[i] = fmt.Sprintf("%s%03d", prefix, i)
		}
		return names
	}
	for _, test := range []struct {
		name       string
		ago        time.Duration
		beatAgo    time.Duration
		told, held []string
		believed   bool
	}{
		{name: "all held probes are told", ago: time.Minute, told: []string{"a", "b"}, held: []string{"a"}, believed: true},
		{name: "a held probe is missing", ago: time.Minute, told: []string{"b"}, held: []string{"a", "b"}},
		{name: "the heartbeat is older than the sync", ago: time.Minute, beatAgo: 2 * time.Minute, held: []string{"a"}, believed: true},
		{name: "the probe was cut off", ago: time.Minute, told: full("m"), held: []string{"z"}, believed: true},
		{name: "the probe would not have been cut off", ago: time.Minute, told: full("m"), held: []string{"a"}},
		{name: "the sync is old", ago: verifyInterval + verifyJitter, told: []string{"a"}, held: []string{"a"}},
		{name: "the sync is nearly old", ago: verifyInterval - time.Second, told: []string{"a"}, held: []string{"a"}, believed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Reconciler{Beats: beats.NewStore(), synced: map[string]keys{"edge": {probes: "p", extra: "e", at: now.Add(-test.ago)}}}
			beat := &heartbeat.Heartbeat{}
			for _, name := range test.told {
				beat.Probes = append(beat.Probes, kubeproberv1.ClusterProbeStatus{Name: name})
			}
			r.Beats.Put("edge", beat, now.Add(-test.beatAgo))
			s := &scope{
				now: now, cluster: &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "edge"}},
				status: kubeproberv1.ClusterStatus{AttachedProbes: test.held},
			}
			r.doubtSynced(s)
			if got := r.isSynced("edge", wanted{probesKey: "p", extraKey: "e"}); got != test.believed {
				t.Errorf("believed = %t, want %t", got, test.believed)
			}
		})
	}
}
