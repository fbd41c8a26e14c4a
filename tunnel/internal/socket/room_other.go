// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package socket

// Without a way to ask, each write may have to wait.
func pollWritable(uintptr) bool { return false }
