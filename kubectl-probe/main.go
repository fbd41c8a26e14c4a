// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-probe is the kubectl plugin of Kubeprober.
package main

import (
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/cmd"
)

// version is set by the linker.
var version string

func main() {
	os.Exit(cmd.Main(version, os.Args[1:], genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}))
}
