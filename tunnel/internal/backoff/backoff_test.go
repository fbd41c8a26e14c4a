// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package backoff

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWaitsStayBelowADoublingCeiling(t *testing.T) {
	for range 50 {
		var b Backoff
		ceiling := First
		for range 12 {
			if wait := b.Next(); wait < 0 || wait >= ceiling {
				t.Fatalf("wait %s, want less than %s", wait, ceiling)
			}
			ceiling = min(2*ceiling, Longest)
		}
		b.Reset()
		if wait := b.Next(); wait >= First {
			t.Fatalf("wait %s after a reset, want less than %s", wait, First)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if Sleep(ctx, time.Hour) {
		t.Error("an hour has passed")
	}
	if !Sleep(t.Context(), 0) {
		t.Error("nothing is too long")
	}
}
