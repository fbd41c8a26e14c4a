// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package sample_test

import (
	"math"
	"testing"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/sample"
)

func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for name, tc := range map[string]struct {
		samples []int
		q       float64
		want    int
	}{
		"nothing was sampled":             {nil, 0.5, 0},
		"one sample is every quantile":    {[]int{7}, 0.99, 7},
		"the median of a hundred":         {hundred, 0.5, 50},
		"p99 leaves one above":            {hundred, 0.99, 99},
		"the whole is the largest":        {hundred, 1, 100},
		"a tiny quantile is the least":    {hundred, 0.001, 1},
		"the rank is rounded up, not off": {[]int{1, 2, 3}, 0.4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sample.Quantile(tc.samples, tc.q); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	samples := []float64{9, 1, 5}
	if got := sample.Median(samples); got != 5 {
		t.Errorf("odd: got %v, want 5", got)
	}
	if samples[0] != 9 {
		t.Error("the samples were sorted in place")
	}
	if got := sample.Median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("even: got %v, want 2.5", got)
	}
	if !math.IsNaN(sample.Median(nil)) {
		t.Error("without samples there is no median")
	}
}
