// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// attemptAnnotation holds, at the Job of a run that has tried to report and was refused, what it was told first.
const attemptAnnotation = kubeproberv1.GroupName + "/refused-report"

const (
	// maxAttempts whose runs are remembered.
	maxAttempts = 4096
	// maxPending bounds the attempts that wait for the API server.
	maxPending       = 1024
	attemptLength    = 256
	attemptTimeout   = 2 * time.Second
	attemptRetry     = 500 * time.Millisecond
	attemptRetryMost = 5 * time.Second
	// maxTries bounds how often the Job of an attempt is looked for: the cache may lack it, or somebody has removed it.
	maxTries = 10
)

type attemptKey struct{ runID, node string }

type attempt struct {
	why   string
	tries int
}

// Attempts remembers which runs tried to report and were refused, so that their exit codes are not taken for verdicts. It keeps
// the first refusal of a run and node at its Job, where every replica finds it.
type Attempts struct {
	client client.Client
	// written bounds the writes: one for each run and node.
	written *lru.Cache

	mu sync.Mutex
	// pending are those that are not at their Job yet.
	pending map[attemptKey]*attempt
	wake    chan struct{}
}

// NewAttempts makes an empty memory. The client reads Jobs from the cache.
func NewAttempts(c client.Client) *Attempts {
	return &Attempts{client: c, written: lru.New(maxAttempts), pending: map[attemptKey]*attempt{}, wake: make(chan struct{}, 1)}
}

// Refused remembers that a report of a run, on a node, was refused, and why. What cannot be written at once is written by Start.
func (a *Attempts) Refused(ctx context.Context, runID, node, why string) {
	key := attemptKey{runID, node}
	if _, known := a.written.Get(key); known {
		return
	}
	a.mu.Lock()
	one, waiting := a.pending[key]
	if !waiting && len(a.pending) < maxPending {
		one = &attempt{why: report.CleanText(why, attemptLength)}
		a.pending[key] = one
	}
	a.mu.Unlock()
	if waiting || one == nil {
		return
	}
	// The checker may be gone before the write is done; that it tried stays true.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	if !a.write(ctx, key, one) {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// Start writes what could not be written at once, until the context ends.
func (a *Attempts) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
		backoff := wait.Backoff{Duration: attemptRetry, Factor: 2, Jitter: 0.5, Cap: attemptRetryMost, Steps: maxTries * 100}
		// It ends without an error but with the context: each attempt is written or given up in the end.
		err := backoff.DelayFunc().Until(ctx, false, true, func(ctx context.Context) (bool, error) { return a.writeAll(ctx), nil })
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("writing refused reports: %w", err)
		}
	}
}

// NeedLeaderElection is false: every replica takes reports.
func (a *Attempts) NeedLeaderElection() bool { return false }

// writeAll tells whether nothing is left to be written.
func (a *Attempts) writeAll(ctx context.Context) bool {
	a.mu.Lock()
	left := make(map[attemptKey]*attempt, len(a.pending))
	for key, one := range a.pending {
		left[key] = one
	}
	a.mu.Unlock()
	done := true
	for key, one := range left {
		done = a.write(ctx, key, one) && done
	}
	return done
}

// write notes an attempt at its Job, and tells whether it needs no further try.
func (a *Attempts) write(ctx context.Context, key attemptKey, one *attempt) bool {
	job, err := a.find(ctx, key)
	if err == nil && job != nil && job.Annotations[attemptAnnotation] == "" {
		noted := job.DeepCopy()
		metav1.SetMetaDataAnnotation(&noted.ObjectMeta, attemptAnnotation, one.why)
		err = client.IgnoreNotFound(a.client.Patch(ctx, noted, client.MergeFrom(job)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	one.tries++
	if err != nil || job == nil && one.tries < maxTries {
		log.FromContext(ctx).V(1).Info("Refused report is not noted yet", "run", key.runID, "node", key.node, "found", job != nil, "cause", err)
		return false
	}
	delete(a.pending, key)
	a.written.Add(key, nil)
	return true
}

// find looks for the Job of a run and node; nil when the cache has none.
func (a *Attempts) find(ctx context.Context, key attemptKey) (*batchv1.Job, error) {
	jobs := &batchv1.JobList{}
	// In all namespaces that the cache holds: the Jobs of a run are in one of them.
	if err := a.client.List(ctx, jobs, client.MatchingLabels{kubeproberv1.RunIDLabel: key.runID}); err != nil {
		return nil, fmt.Errorf("listing Jobs of run %s: %w", key.runID, err)
	}
	name := run.JobName(key.runID, key.node)
	for i := range jobs.Items {
		if jobs.Items[i].Name == name {
			return &jobs.Items[i], nil
		}
	}
	return nil, nil
}

// of is what the first refused report of a Job was told; empty when none was refused. The cache may not have the note yet, so
// live is asked.
func (a *Attempts) of(ctx context.Context, live client.Reader, job *batchv1.Job, meta run.Meta) (string, error) {
	a.mu.Lock()
	one := a.pending[attemptKey{meta.RunID, meta.Node}]
	a.mu.Unlock()
	if one != nil {
		return one.why, nil
	}
	if why := job.Annotations[attemptAnnotation]; why != "" {
		return why, nil
	}
	there := &metav1.PartialObjectMetadata{}
	there.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	if err := live.Get(ctx, client.ObjectKeyFromObject(job), there); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading Job %s: %w", klog.KObj(job), err)
	}
	return there.Annotations[attemptAnnotation], nil
}
