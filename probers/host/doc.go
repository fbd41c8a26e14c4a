// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package host checks the node that it runs on: by the kernel's files, the node's file systems and the kubelet's health
// endpoint. It reads only, needs no privilege, and finds everything below one folder, where the root of the node is
// mounted. It knows nothing of Kubernetes objects.
//
// What cannot be read is UNKNOWN: it says nothing about the node.
package host
