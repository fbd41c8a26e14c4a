// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe-master is the centre of Kubeprober: agents of managed clusters connect to it, and it gives them probes
// and gathers their results.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/kubeprober/kubeprober/master/internal/app"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := command().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintf(os.Stderr, "probe-master: %v\n", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	options := app.NewOptions()
	logging := zap.Options{}
	cmd := &cobra.Command{
		Use:           "probe-master",
		Short:         "Run the master of a Kubeprober fleet",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.Complete(); err != nil {
				return err
			}
			log := zap.New(zap.UseFlagOptions(&logging))
			ctrl.SetLogger(log)
			klog.SetLogger(log)
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			config.UserAgent = "probe-master/" + version
			log.Info("Starting", "version", version)
			return app.Run(cmd.Context(), config, options)
		},
	}
	options.AddFlags(cmd.Flags())
	goFlags := flag.NewFlagSet("", flag.ContinueOnError)
	logging.BindFlags(goFlags)
	cmd.Flags().AddGoFlagSet(goFlags)
	return cmd
}
