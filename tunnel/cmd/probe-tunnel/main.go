// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-tunnel keeps the tunnel from a managed cluster to its master.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/kubeprober/kubeprober/tunnel/internal/app"
)

var version = "dev" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := app.Run(ctx, app.Process{
		Args:      os.Args[1:],
		Env:       os.Getenv,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		Version:   version,
		UseLogger: klog.SetLogger,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe-tunnel:", err)
		os.Exit(1)
	}
}
