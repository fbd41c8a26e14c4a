// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package footprint

// unmapProgram leaves it to the system what of the program stays in memory.
func unmapProgram() error { return nil }
