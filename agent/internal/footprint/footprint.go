// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package footprint keeps the resident memory of a process that idles almost always at what it uses: what its start and each burst
// of work leave behind goes back to the system. It knows nothing of what the process does.
package footprint

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
)

// interval between two returns. One costs some ten milliseconds of processor time.
const interval = time.Minute

// Trimmer gives memory back once a minute. It is a runnable of a manager.
type Trimmer struct{ Log logr.Logger }

// NeedLeaderElection is false: a replica that stands by has memory as well.
func (t *Trimmer) NeedLeaderElection() bool { return false }

// Start gives memory back until the context ends.
func (t *Trimmer) Start(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := Trim(); err != nil {
			// Nothing depends on it: the process is larger, and works.
			t.Log.Info("Memory cannot be given back, which is not tried again", "reason", err.Error())
			<-ctx.Done()
			return nil
		}
	}
}

// Trim gives back the heap that holds nothing and the pages of the program's file. Of the latter, the start maps most, and idling
// needs a few: these come back from the page cache when they are touched.
func Trim() error {
	debug.FreeOSMemory()
	return unmapProgram()
}
