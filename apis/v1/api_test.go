// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	"testing"
	"time"
)

func TestAttachedProbe(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value, want string
		ok               bool
	}{
		"a label of the value true attaches":      {"probe/k8s", "true", "k8s", true},
		"a label of another value does not":       {"probe/k8s", "false", "", false},
		"a label of another prefix does not":      {"probes/k8s", "true", "", false},
		"a label with no name behind it does not": {"probe/", "true", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := AttachedProbe(tc.key, tc.value)
			if got != tc.want || ok != tc.ok {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestSeverityRises(t *testing.T) {
	order := []CheckerStatus{CheckerPass, CheckerInfo, CheckerUnknown, CheckerWarn, CheckerError}
	for i, low := range order {
		for _, high := range order[i:] {
			if low.Worst(high) != high || high.Worst(low) != high {
				t.Errorf("%s and %s: the worst is not %s", low, high, high)
			}
		}
	}
	if CheckerStatus("GREEN").Severity() != -1 {
		t.Error("a word that is no status has a severity")
	}
}

func TestTimeout(t *testing.T) {
	n := func(v int32) *int32 { return &v }
	for name, tc := range map[string]struct {
		policy ProbePolicy
		want   time.Duration
	}{
		"is half an hour by default":         {ProbePolicy{}, 30 * time.Minute},
		"is what the policy says":            {ProbePolicy{TimeoutSeconds: n(60)}, time.Minute},
		"never exceeds the interval":         {ProbePolicy{RunInterval: n(5)}, 5 * time.Minute},
		"is not stretched to the interval":   {ProbePolicy{RunInterval: n(60), TimeoutSeconds: n(90)}, 90 * time.Second},
		"is not capped by an interval of 0":  {ProbePolicy{RunInterval: n(0), TimeoutSeconds: n(90)}, 90 * time.Second},
		"caps a timeout beyond the interval": {ProbePolicy{RunInterval: n(1), TimeoutSeconds: n(90)}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.policy.Timeout(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
