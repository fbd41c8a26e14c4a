// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"math"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/record"
)

// Bounds of the reports that are kept while the API server is away. The checker waits for its answer meanwhile.
const (
	// holdTimeout is how long one is kept at most.
	holdTimeout = time.Minute
	// maxHeldBytes bounds their bodies together.
	maxHeldBytes = 8 << 20
)

// retry is how often it is tried to store them.
var retry = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 2 * time.Second, Steps: math.MaxInt32}

// mayPass tells of an error that another attempt may not meet: the API server is away, or busy.
func mayPass(err error) bool {
	for _, final := range []error{nil, record.ErrRunOver, record.ErrTooMany, record.ErrTooLarge} {
		if errors.Is(err, final) {
			return false
		}
	}
	return !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) &&
		!apierrors.IsRequestEntityTooLargeError(err)
}

// hold keeps a report that could not be stored, and tries again until it is, or until the run's deadline or holdTimeout has
// passed, the checker has gone, or the agent stops. It returns what the last attempt came to.
func (r *Receiver) hold(ctx context.Context, claims *capability.Claims, size int64, last error, store func(context.Context) error) error {
	if !r.held.TryAcquire(size) {
		return last
	}
	defer r.held.Release(size)
	left := time.Unix(claims.Deadline, 0).Sub(r.clock.Now())
	ctx, cancel := context.WithTimeout(ctx, min(left, r.holdFor))
	defer cancel()
	defer context.AfterFunc(r.stopping, cancel)()
	r.log.Info("Holding report until the API server takes it", "Probe", claims.Namespace+"/"+claims.Probe, "run", claims.RunID,
		"cause", last.Error())
	err := retry.DelayFunc().Until(ctx, false, true, func(ctx context.Context) (bool, error) {
		leave, ok := r.enter(ctx)
		if !ok {
			return false, nil
		}
		defer leave()
		last = store(ctx)
		return !mayPass(last), nil
	})
	if err != nil && last == nil {
		return err
	}
	return last
}
