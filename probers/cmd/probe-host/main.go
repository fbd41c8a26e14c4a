// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-host runs the checkers of package host in a pod of a run, on the node that the pod is on.
package main

import (
	"fmt"
	"os"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/host"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("probe-host", version)
		return
	}
	node, err := host.New(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(checker.ExitUsage)
	}
	checker.Main(node.Checkers()...)
}
