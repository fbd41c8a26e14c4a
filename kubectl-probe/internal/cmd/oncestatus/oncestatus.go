// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oncestatus is the command that shows one-time diagnoses: their list, or the results of one.
package oncestatus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/completion"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/output"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/progress"
)

const long = `Show the one-time diagnoses of a cluster, or the results of one of them.

With --cluster, the runs that were made on the master of the current kubeconfig context for that managed cluster. Without
it, the runs of the cluster of the current context itself.`

const example = `  # The history of one-time diagnoses, newest first
  kubectl probe oncestatus -c erda-cloud -l

  # The results of one
  kubectl probe oncestatus -c erda-cloud -i 1630566675

  # Wait for one that is still running
  kubectl probe oncestatus -c erda-cloud -i 1630566675 -w`

// Options of the command.
type Options struct {
	genericiooptions.IOStreams
	flags   *fleet.Flags
	print   *output.Flags
	cluster string
	list    bool
	id      string
	watch   bool
	timeout time.Duration
	failOn  string

	fleet *fleet.Fleet
}

// New makes the command.
func New(flags *fleet.Flags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{IOStreams: streams, flags: flags, print: output.NewFlags(""), failOn: string(output.FailOnError)}
	cmd := &cobra.Command{
		Use:     "oncestatus [-c CLUSTER] (-l | -i ID)",
		Short:   "Show one-time diagnoses and their results",
		Long:    long,
		Example: example,
		Args:    exit.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(cmd.Flags().Changed("cluster")); err != nil {
				return err
			}
			if err := o.Complete(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&o.cluster, "cluster", "c", "", "Cluster that was diagnosed. Without it: the cluster of the current context.")
	cmd.Flags().BoolVarP(&o.list, "list", "l", false, "List the runs, newest first.")
	cmd.Flags().StringVarP(&o.id, "id", "i", "", "ID of the run to show the results of.")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Wait until the run of --id has finished.")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "How long --watch waits; 0 waits for ever.")
	cmd.Flags().StringVar(&o.failOn, "fail-on", o.failOn,
		"Results of --id that make the command fail: never, error (exit code 3) or warn (4). What could not be judged ends with 5.")
	o.print.AddFlags(cmd)
	cluster := func() string { return o.cluster }
	_ = cmd.RegisterFlagCompletionFunc("cluster", completion.Clusters(flags))
	_ = cmd.RegisterFlagCompletionFunc("id", completion.Runs(flags, cluster))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(output.FailOnValues(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Validate checks what needs no cluster.
func (o *Options) Validate(named bool) error {
	switch {
	case o.list == (o.id != ""):
		return exit.New(exit.Usage, "say either --list, for all runs, or --id ID, for the results of one").
			Then("kubectl probe oncestatus --help")
	case o.watch && o.list:
		return exit.New(exit.Usage, "--watch follows one run: use it with --id")
	case o.timeout < 0:
		return exit.New(exit.Usage, "--timeout %s is negative; 0 waits for ever", o.timeout)
	case o.timeout > 0 && !o.watch:
		return exit.New(exit.Usage, "--timeout is for --watch")
	}
	if o.id != "" {
		if problems := validation.IsDNS1123Subdomain(o.id); len(problems) > 0 {
			return exit.New(exit.Usage, "--id %q is not the ID of a run, such as 1630566675", o.id)
		}
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
	return o.print.Validate()
}

// Complete opens the way to the cluster.
func (o *Options) Complete() error {
	var err error
	o.fleet, err = o.flags.Open(o.ErrOut)
	return err
}

// Run reads and prints what was asked for.
func (o *Options) Run(ctx context.Context) error {
	switch {
	case o.list:
		return o.printList(ctx)
	case o.watch:
		return o.follow(ctx)
	default:
		return o.printOne(ctx)
	}
}

func (o *Options) printList(ctx context.Context) error {
	runs, err := o.fleet.Runs(ctx, o.cluster)
	if err != nil {
		return err
	}
	if len(runs) == 0 && o.cluster != "" {
		// No runs of a cluster that does not exist is another matter.
		if _, err := o.fleet.Cluster(ctx, o.cluster); err != nil {
			return err
		}
	}
	switch {
	case o.print.Named():
		return o.print.Object(o.Out, output.TypedItems(runs)...)
	case !o.print.Human():
		return o.print.Object(o.Out, output.TypedList(runs))
	case len(runs) == 0:
		_, _ = fmt.Fprintf(o.ErrOut, "No runs found.\n  %s\n", o.flags.ProbeCommand("once", o.cluster))
		return nil
	default:
		return o.print.Table(o.Out, output.RunsTable(runs, time.Now()))
	}
}

func (o *Options) printOne(ctx context.Context) error {
	run, err := o.fleet.Run(ctx, o.cluster, o.id)
	if err != nil {
		return err
	}
	if err := o.results(run); err != nil {
		return err
	}
	verdict := output.FailOn(o.failOn).RunVerdict(run)
	var known *exit.Error
	if !output.Phase(run).Finished() && errors.As(verdict, &known) {
		return known.Then(o.flags.ProbeCommand("oncestatus", o.cluster, "-i", o.id, "-w"))
	}
	return verdict
}

func (o *Options) follow(ctx context.Context) error {
	// That the run exists, and is one of this cluster, is known before anything is watched.
	run, err := o.fleet.Run(ctx, o.cluster, o.id)
	if err != nil {
		return err
	}
	if !output.Phase(run).Finished() {
		var last *kubeproberv1.ProbeRun
		resume := o.flags.ProbeCommand("oncestatus", o.cluster, "-i", o.id, "-w")
		if last, err = progress.Follow(ctx, o.ErrOut, o.fleet, o.cluster, o.id, o.timeout, resume); last != nil {
			run = last
		}
	}
	if exit.Code(err) != exit.Interrupted {
		if printErr := o.results(run); printErr != nil {
			return errors.Join(err, printErr)
		}
	}
	if err != nil {
		return err
	}
	return output.FailOn(o.failOn).RunVerdict(run)
}

func (o *Options) results(run *kubeproberv1.ProbeRun) error {
	if !o.print.Human() {
		return o.print.Object(o.Out, output.Typed(run))
	}
	return o.print.Results(o.Out, output.FromRun(run), false, time.Now())
}
