// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package once is the command that diagnoses a cluster now.
package once

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/completion"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/output"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/progress"
)

// defaultTimeout is how long the command waits when no flag says otherwise.
const defaultTimeout = 10 * time.Minute

const long = `Run probes now, once, and show their results.

The command creates a ProbeRun and watches it until it has finished. Interrupting the command, or its timeout, ends the
watching and not the run: the printed command goes on where this one stopped.

With --cluster, the run is made on the master of the current kubeconfig context, for that managed cluster. Without it, it
is made in the cluster of the current context itself.`

const example = `  # All probes that are attached to a cluster
  kubectl probe once -c erda-cloud

  # Two of them
  kubectl probe once -c erda-cloud -p k8s,host

  # Start, and ask for the result later
  kubectl probe once -c erda-cloud --wait=false`

// Options of the command.
type Options struct {
	genericiooptions.IOStreams
	flags   *fleet.Flags
	print   *output.Flags
	cluster string
	probes  []string
	timeout time.Duration
	wait    bool
	failOn  string

	fleet *fleet.Fleet
}

// New makes the command.
func New(flags *fleet.Flags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{
		IOStreams: streams, flags: flags, print: output.NewFlags("created"),
		timeout: defaultTimeout, wait: true, failOn: string(output.FailOnError),
	}
	cmd := &cobra.Command{
		Use:     "once [-c CLUSTER] [-p PROBE[,PROBE...]]",
		Short:   "Run probes now and show their results",
		Long:    long,
		Example: example,
		Args:    exit.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(cmd.Flags().Changed("cluster")); err != nil {
				return err
			}
			if err := o.Complete(cmd.Context()); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&o.cluster, "cluster", "c", "", "Cluster to diagnose. Without it: the cluster of the current context.")
	cmd.Flags().StringSliceVarP(&o.probes, "probes", "p", nil, "Probes to run, attached or not. Without it: all that are attached.")
	cmd.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "How long to wait for the run; 0 waits for ever.")
	cmd.Flags().BoolVar(&o.wait, "wait", o.wait, "Wait for the run and show its results.")
	cmd.Flags().StringVar(&o.failOn, "fail-on", o.failOn,
		"Results that make the command fail: never, error (exit code 3) or warn (4). What could not be judged ends with 5.")
	o.print.AddFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("cluster", completion.Clusters(flags))
	_ = cmd.RegisterFlagCompletionFunc("probes", completion.Probes(flags, func() string { return o.cluster }))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(output.FailOnValues(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Validate checks what needs no cluster.
func (o *Options) Validate(named bool) error {
	if o.timeout < 0 {
		return exit.New(exit.Usage, "--timeout %s is negative; 0 waits for ever", o.timeout)
	}
	var clusters []string
	if named {
		clusters = append(clusters, o.cluster)
	}
	if err := o.flags.Validate(clusters...); err != nil {
		return err
	}
	if err := output.FailOn(o.failOn).Validate(); err != nil {
		return err
	}
	var err error
	if o.probes, err = fleet.ProbeNames(o.probes); err != nil {
		return err
	}
	return o.print.Validate()
}

// Complete opens the way to the cluster and refuses a run that could not be made: of a cluster or probe that does not
// exist, or of a cluster that is not connected.
func (o *Options) Complete(ctx context.Context) error {
	var err error
	if o.fleet, err = o.flags.Open(o.ErrOut); err != nil {
		return err
	}
	if o.cluster == "" {
		return o.checkLocal(ctx)
	}
	cluster, err := o.fleet.Cluster(ctx, o.cluster)
	if err != nil {
		return err
	}
	if err := fleet.Connected(cluster); err != nil {
		return err
	}
	return o.fleet.CheckRun(ctx, cluster, o.probes)
}

func (o *Options) checkLocal(ctx context.Context) error {
	probes, err := o.fleet.LocalProbes(ctx)
	if err != nil {
		return err
	}
	have := make([]string, 0, len(probes))
	for i := range probes {
		have = append(have, probes[i].Name)
	}
	if len(have) == 0 {
		return o.flags.NoProbes(o.cluster)
	}
	return o.flags.CheckProbes(o.cluster, o.probes, have)
}

// Run makes the run, waits for it and prints its results.
func (o *Options) Run(ctx context.Context) error {
	run, err := o.fleet.CreateRun(ctx, o.cluster, o.probes, time.Now())
	if err != nil {
		return err
	}
	result := o.flags.ProbeCommand("oncestatus", o.cluster, "-i", run.Name)
	if !o.wait {
		return o.created(run, result)
	}
	last, err := progress.Follow(ctx, o.ErrOut, o.fleet, o.cluster, run.Name, o.timeout, result+" -w")
	if last == nil {
		last = run
	}
	// What is known is shown, even if that is not all; only the user who stopped the command does not want it any more.
	if exit.Code(err) != exit.Interrupted {
		if printErr := o.results(last); printErr != nil {
			return errors.Join(err, printErr)
		}
	}
	if err != nil {
		return err
	}
	return output.FailOn(o.failOn).RunVerdict(last)
}

// created tells that the run was made, for a command that does not wait.
func (o *Options) created(run *kubeproberv1.ProbeRun, result string) error {
	if !o.print.Human() {
		return o.print.Object(o.Out, output.Typed(run))
	}
	_, _ = fmt.Fprintf(o.Out, "proberun.%s/%s created\n", kubeproberv1.GroupName, run.Name)
	_, _ = fmt.Fprintf(o.ErrOut, "  %s\n", result)
	return nil
}

func (o *Options) results(run *kubeproberv1.ProbeRun) error {
	if !o.print.Human() {
		return o.print.Object(o.Out, output.Typed(run))
	}
	return o.print.Results(o.Out, output.FromRun(run), false, time.Now())
}
