// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-agent runs the probes of one cluster, records their results and tells the master of them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	// The image has no time zone files, which cron expressions need.
	_ "time/tzdata"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kubeprober/kubeprober/agent/internal/app"
)

var version = "unknown"

func main() {
	if err := run(); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "probe-agent:", err)
		os.Exit(1)
	}
}

func run() error {
	options, err := app.ParseOptions(os.Args[1:], os.Getenv)
	if err != nil {
		return err
	}
	log, err := app.NewLogger(options, os.Stderr)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	return app.Run(ctrl.SetupSignalHandler(), options, config, version, log)
}
