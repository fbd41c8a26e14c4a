// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package progress follows a one-time diagnosis to its end and shows on the way how far it is: a block that is redrawn in
// place on a terminal, one line for each change elsewhere. It knows nothing of what the results are worth.
package progress

import (
	"context"
	"errors"
	"io"
	"time"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
)

// errTimeout ends a wait that took too long.
var errTimeout = errors.New("timeout")

// Follow waits until a run has finished, at most for timeout (0: for ever), and shows its progress on w. It returns the
// last state that was seen, also together with an error. resume is the command with which the user can go on waiting.
func Follow(ctx context.Context, w io.Writer, from *fleet.Fleet, cluster, id string, timeout time.Duration, resume string) (*kubeproberv1.ProbeRun, error) {
	user := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	show := newDisplay(w, cluster, id)
	stop := show.start()
	run, err := from.FollowRun(ctx, cluster, id, show.update, show.lost)
	stop()
	var known *exit.Error
	switch {
	case err == nil || errors.As(err, &known):
	case errors.Is(err, errTimeout):
		return run, exit.New(exit.Incomplete, "run %s did not finish within %s; it goes on without being watched", id, timeout).Then(resume)
	case user.Err() != nil:
		return run, exit.New(exit.Interrupted, "stopped watching run %s; it goes on", id).Then(resume)
	}
	return run, err
}
