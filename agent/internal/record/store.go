// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package record keeps the results of runs in the objects that show them: the ProbeStatus of a scheduled run, the ProbeRun of a
// one-time diagnosis. A result is in the API server when a call returns, so nothing that was acknowledged is lost with the
// agent. It knows nothing of HTTP, Jobs and pods.
package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Errors that no further attempt can mend.
var (
	// ErrRunOver is returned when the run has ended, or its Probe or ProbeRun is gone.
	ErrRunOver = errors.New("the run is over")
	// ErrSuperseded is returned when the end of a later run is recorded already.
	ErrSuperseded = errors.New("the end of a later run is recorded")
	// ErrTooMany is returned when a run reports more checkers than are kept.
	ErrTooMany = errors.New("the run has reported more checkers than are kept")
	// ErrTooLarge is returned when the results of a run do not fit into one object.
	ErrTooLarge = errors.New("the results of the run are larger than is kept: send shorter messages")
)

// writeTimeout bounds one write, its retries included.
const writeTimeout = 8 * time.Second

// Ref names a run and the object that shows its results.
type Ref struct {
	// Namespace of the probe.
	Namespace string
	// Probe is the name of the probe.
	Probe string
	// ProbeRun is the one-time diagnosis; empty for a scheduled run.
	ProbeRun string
	// OwnerUID is the UID of the ProbeRun, or of the Probe.
	OwnerUID types.UID
	// RunID of the run.
	RunID string
}

func (r Ref) queueKey() string { return r.Namespace + "/" + r.Probe + "/" + r.ProbeRun }

// Store writes results. Any number of goroutines and replicas may use it at once: writes that come while another to the same
// object is under way are put together into one, and each write holds only if nobody else has written in between.
type Store struct {
	client client.Client
	// live reads from the API server and not from the cache.
	live client.Reader

	mu     sync.Mutex
	queues map[string]*queue
}

// NewStore makes a store. The client reads from a cache, live does not.
func NewStore(c client.Client, live client.Reader) *Store {
	return &Store{client: c, live: live, queues: map[string]*queue{}}
}

// target is an object that results are written to.
type target struct {
	client.Object
	// threshold is how many ERRORs in a row are published as ERROR.
	threshold int32
}

// changeFunc changes a target in memory. On an error it must leave the target as it was.
type changeFunc func(target) error

type operation struct {
	apply changeFunc
	done  bool
	err   error
}

type queue struct {
	// users is guarded by the mutex of the store, and pending too.
	users   int
	pending []*operation
	// turn holds one token: who has it writes.
	turn chan struct{}
}

// do applies a change to the object of a run and returns when it is written.
func (s *Store) do(ctx context.Context, ref Ref, load loadFunc, apply changeFunc) error {
	op := &operation{apply: apply}
	q := s.enter(ref.queueKey(), op)
	defer s.leave(ref.queueKey(), q)
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		// Whoever has the turn may still write it: that is not acknowledged, and harmless.
		return fmt.Errorf("waiting to write the results of run %s: %w", ref.RunID, ctx.Err())
	}
	defer func() { <-q.turn }()
	if op.done {
		return op.err
	}
	s.mu.Lock()
	batch := q.pending
	q.pending = nil
	s.mu.Unlock()
	// The write serves everybody in the batch, so it does not end with the request of one of them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err := s.write(ctx, load, batch)
	for _, o := range batch {
		o.done = true
		if o.err == nil && err != nil {
			o.err = fmt.Errorf("writing the results of probe %s/%s: %w", ref.Namespace, ref.Probe, err)
		}
	}
	return op.err
}

func (s *Store) enter(key string, op *operation) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[key]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		s.queues[key] = q
	}
	q.users++
	q.pending = append(q.pending, op)
	return q
}

func (s *Store) leave(key string, q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(s.queues, key)
	}
}

// loadFunc reads the object that is to be changed, from the cache or, when that has proved to be behind, live.
type loadFunc func(ctx context.Context, reader client.Reader) (target, error)

func (s *Store) write(ctx context.Context, load loadFunc, batch []*operation) error {
	var reader client.Reader = s.client
	behind := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }
	backoff := wait.Backoff{Steps: 8, Duration: 5 * time.Millisecond, Factor: 2, Jitter: 0.5}
	return retry.OnError(backoff, behind, func() error {
		to, err := load(ctx, reader)
		if errors.Is(err, ErrRunOver) && reader != s.live {
			to, err = load(ctx, s.live)
		}
		reader = s.live
		if err != nil {
			return err
		}
		before := to.DeepCopyObject().(client.Object)
		for _, op := range batch {
			op.err = op.apply(to)
		}
		if equality.Semantic.DeepEqual(before, to.Object) {
			return nil
		}
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		return s.client.Status().Patch(ctx, to.Object, patch)
	})
}
