// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	beats "github.com/kubeprober/kubeprober/master/internal/heartbeat"
)

const (
	// verifyInterval is how long a sync is believed: nothing watches the managed cluster, where the objects may be changed.
	verifyInterval = 10 * time.Minute
	// verifyJitter spreads the clusters of a fleet that connected at once.
	verifyJitter = 2 * time.Minute
)

// keys are the wanted.probesKey and wanted.extraKey of the last sync that left nothing to do.
type keys struct {
	probes, extra string
	// at is when that sync ended.
	at time.Time
}

func (r *Reconciler) keysOf(cluster string) keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced[cluster]
}

func (r *Reconciler) isSynced(cluster string, w wanted) bool {
	k := r.keysOf(cluster)
	return k.probes == w.probesKey && k.extra == w.extraKey
}

func (r *Reconciler) setKeys(cluster string, w wanted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced[cluster] = keys{probes: w.probesKey, extra: w.extraKey, at: time.Now()}
}

func (r *Reconciler) forget(cluster string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.synced, cluster)
}

// verifyTime is when the last sync is not believed any more.
func (r *Reconciler) verifyTime(cluster string) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(cluster))
	return r.keysOf(cluster).at.Add(verifyInterval + time.Duration(hash.Sum64()%uint64(verifyJitter)))
}

// doubtSynced forgets the last sync when it is old, or when a heartbeat that came after it lacks a probe, so that what was
// changed in the managed cluster is repaired.
func (r *Reconciler) doubtSynced(s *scope) {
	k := r.keysOf(s.cluster.Name)
	if k.at.IsZero() {
		return
	}
	beat, ok := r.Beats.Latest(s.cluster.Name)
	if !s.now.Before(r.verifyTime(s.cluster.Name)) || ok && beat.Received.After(k.at) && lacks(beat, s.status.AttachedProbes) {
		r.forget(s.cluster.Name)
	}
}

// lacks tells whether the cluster says that one of the probes is not there. Of a full heartbeat, which is sorted by name,
// what comes after its last probe was cut off and says nothing.
func lacks(beat beats.Beat, held []string) bool {
	there := make(map[string]bool, len(beat.Probes))
	for i := range beat.Probes {
		there[beat.Probes[i].Name] = true
	}
	last := ""
	if len(beat.Probes) >= heartbeat.MaxProbes {
		last = slices.MaxFunc(beat.Probes, byProbeName).Name
	}
	return slices.ContainsFunc(held, func(name string) bool { return !there[name] && (last == "" || name < last) })
}

func byProbeName(a, b kubeproberv1.ClusterProbeStatus) int {
	return strings.Compare(a.Name, b.Name)
}
