// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-demo runs the demo checker in a pod of a run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/demo"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := run(ctx)
	stop()
	os.Exit(status)
}

func run(ctx context.Context) int {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("probe-demo", version)
		return 0
	}
	d, err := demo.New(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return checker.ExitUsage
	}
	return d.Run(ctx, os.Stdout, os.Stderr)
}
