// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sample reduces samples to the figures that the benchmarks print. It knows nothing
// of what was sampled.
package sample

import (
	"cmp"
	"math"
	"slices"
)

// Quantile returns the q-quantile of samples, 0 < q <= 1, by the nearest rank; the zero
// value without samples. It sorts samples.
func Quantile[T cmp.Ordered](samples []T, q float64) T {
	if len(samples) == 0 {
		var zero T
		return zero
	}
	slices.Sort(samples)
	rank := int(math.Ceil(q * float64(len(samples))))
	return samples[min(max(rank, 1), len(samples))-1]
}

// Median returns the median of samples, NaN without any. It does not change samples.
func Median(samples []float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
