// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cmd is the command line: it puts the verbs together and turns the end of one into an exit code.
package cmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/cmd/once"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/cmd/oncestatus"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/cmd/status"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/cmd/version"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
)

// displayName is how users call the plugin.
const displayName = "kubectl probe"

const long = `Diagnose Kubernetes clusters with Kubeprober.

The commands talk to the cluster of the current kubeconfig context. With --cluster that is a master, and the named cluster
is reached through it; without, it is the cluster that is diagnosed.

Exit codes: 0 fine; 1 error; 2 wrong usage or configuration; 3 a checker reports ERROR; 4 one reports WARN (with
--fail-on=warn); 5 something could not be judged: timeout, disconnected cluster, unknown or stale result; 130 interrupted.`

// New makes the whole command.
func New(stamp string, streams genericiooptions.IOStreams) *cobra.Command {
	flags := fleet.NewFlags()
	root := &cobra.Command{
		Use:           "kubectl-probe",
		Short:         "Diagnose Kubernetes clusters",
		Long:          long,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: displayName},
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			unknown := exit.New(exit.Usage, "unknown command %q", args[0])
			for _, name := range cmd.SuggestionsFor(args[0]) {
				return unknown.Then(displayName + " " + name)
			}
			return unknown.Then(displayName + " --help")
		},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.New(exit.Usage, "%w", err).Then(cmd.CommandPath() + " --help")
	})
	flags.AddFlags(root.PersistentFlags())
	root.SuggestionsMinimumDistance = 2
	root.AddCommand(
		status.New(flags, streams),
		once.New(flags, streams),
		oncestatus.New(flags, streams),
		version.New(flags, stamp, streams),
	)
	return root
}

// Main runs the command line and returns the exit code. The first interrupt ends the command in order; a second one kills
// the process.
func Main(stamp string, args []string, streams genericiooptions.IOStreams) int {
	// What the client libraries have to say is in the errors that they return.
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := New(stamp, streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		exit.Print(streams.ErrOut, err)
	}
	return exit.Code(err)
}
