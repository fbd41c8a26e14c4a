// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package identity binds the name of a Cluster to the first cluster that presents it, and refuses every other one. It
// knows nothing of tunnels and heartbeats: both ask it before they trust a name.
package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	// fieldOwner is who writes status.identity.
	fieldOwner = "probe-master-identity"
	// attempts bounds how often a bind starts anew because somebody else wrote the Cluster meanwhile.
	attempts = 5
	// maxConflicts bounds the conflicts that are remembered so that each is told only once.
	maxConflicts = 4096
	// pause is for how long a name is not registered anew after its Cluster was deleted. An agent that still runs is back
	// within a tenth of a second, and whoever waits for the deletion, as kubectl does, would wait for the new Cluster to go.
	pause = 3 * time.Second
)

// Binder is the hub's Binder: it keeps the binding in status.identity of the Cluster, which it creates at first contact.
type Binder struct {
	client client.Client
	live   client.Reader
	events events.EventRecorder
	census *Census
	told   *lru.Cache
	// released holds the names whose Clusters were deleted a moment ago.
	released *cache.LRUExpireCache
}

// NewBinder returns a Binder that reads Clusters from c, which may be a cache, and from live before it decides anything
// that the cache does not confirm. The census limits how many Clusters it creates.
func NewBinder(c client.Client, live client.Reader, recorder events.EventRecorder, census *Census) *Binder {
	return &Binder{
		client: c, live: live, events: recorder, census: census,
		told: lru.New(maxConflicts), released: cache.NewLRUExpireCache(maxConflicts),
	}
}

// Release tells that the Cluster of this name is about to go: its name is registered anew only after a pause.
func (b *Binder) Release(cluster string) { b.released.Add(cluster, nil, pause) }

// Bind lets an agent in when its cluster is the one that the name is bound to, or the first to present it. The error is
// hub.ErrRefused when it is neither.
func (b *Binder) Bind(ctx context.Context, id hub.Identity) error {
	cached := &kubeproberv1.Cluster{}
	if err := b.client.Get(ctx, client.ObjectKey{Name: id.Cluster}, cached); err == nil && boundTo(cached, id.UID) {
		return nil
	}
	var err error
	for range attempts {
		if err = b.bind(ctx, id); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return fmt.Errorf("binding cluster %s: somebody else keeps writing it: %w", id.Cluster, err)
}

// bind decides on the live object. A conflict means that another writer was faster, who may be another cluster.
func (b *Binder) bind(ctx context.Context, id hub.Identity) error {
	cluster := &kubeproberv1.Cluster{}
	err := b.live.Get(ctx, client.ObjectKey{Name: id.Cluster}, cluster)
	if apierrors.IsNotFound(err) {
		if _, recent := b.released.Get(id.Cluster); recent {
			return fmt.Errorf("registering cluster %s anew: its Cluster was deleted less than %s ago", id.Cluster, pause)
		}
		cluster, err = b.create(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("binding cluster %s: %w", id.Cluster, err)
	}
	switch {
	case boundTo(cluster, id.UID):
		// One that is being deleted may come back as well: it is cleaned up through its tunnel.
		return nil
	case !cluster.DeletionTimestamp.IsZero():
		return fmt.Errorf("%w: Cluster %s is being deleted on the master; it is registered anew once that is done", hub.ErrRefused, id.Cluster)
	case cluster.Status.Identity != nil:
		return b.refuse(cluster, id)
	}
	bound := cluster.DeepCopy()
	bound.Status.Identity = &kubeproberv1.ClusterIdentity{UID: id.UID}
	// The lock makes the server decide between two clusters that race for one name.
	patch := client.MergeFromWithOptions(cluster, client.MergeFromWithOptimisticLock{})
	if err := b.client.Status().Patch(ctx, bound, patch, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("binding cluster %s: %w", id.Cluster, err)
	}
	logf.FromContext(ctx).Info("Bound the name of a Cluster", "Cluster", id.Cluster, "remoteAddr", id.RemoteAddr)
	return nil
}

// create registers a Cluster, if there is room for one more.
func (b *Binder) create(ctx context.Context, id hub.Identity) (*kubeproberv1.Cluster, error) {
	cancel, err := b.census.reserve(id.Cluster)
	if errors.Is(err, hub.ErrRefused) {
		logf.FromContext(ctx).Info("Refused to register a Cluster beyond the limit", "Cluster", id.Cluster, "remoteAddr", id.RemoteAddr)
	}
	if err != nil {
		return nil, err
	}
	cluster := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: id.Cluster}}
	if err := b.client.Create(ctx, cluster, client.FieldOwner(fieldOwner)); err != nil {
		cancel()
		return nil, err
	}
	logf.FromContext(ctx).Info("Created Cluster at first contact", "Cluster", id.Cluster, "remoteAddr", id.RemoteAddr)
	return cluster, nil
}

// refuse tells the conflict once for each intruder, however often that one tries. The answer does not tell the UID that
// the name is bound to, which is all that the intruder lacks.
func (b *Binder) refuse(cluster *kubeproberv1.Cluster, id hub.Identity) error {
	type conflict struct {
		cluster  types.UID
		intruder string
	}
	key := conflict{cluster: cluster.UID, intruder: id.UID}
	if _, known := b.told.Get(key); !known {
		b.told.Add(key, nil)
		b.events.Eventf(cluster, nil, corev1.EventTypeWarning, kubeproberv1.ClusterIdentityConflictReason, "BindIdentity",
			"Refused another cluster that uses this name, with UID %s, from %s. Give it another cluster_name, or run \"kubectl delete cluster %s\" to free the name",
			id.UID, id.RemoteAddr, cluster.Name)
	}
	return fmt.Errorf("%w: the name %s is bound to another cluster; set another cluster_name in this one's probeagent ConfigMap, or run \"kubectl delete cluster %s\" on the master to free the name",
		hub.ErrRefused, id.Cluster, id.Cluster)
}

func boundTo(cluster *kubeproberv1.Cluster, uid string) bool {
	return cluster.Status.Identity != nil && cluster.Status.Identity.UID == uid
}
