// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status is the command that shows the latest results of the scheduled probes.
package status

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/util/workqueue"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/completion"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/output"
)

// atOnce bounds how many clusters are asked at the same time.
const atOnce = 8

const long = `Show the latest results of the scheduled probes.

With --cluster, the results are read from that managed cluster through the master of the current kubeconfig context.
Without it, they are read from the cluster of the current context itself.

A result whose time has passed is marked as stale, and a probe that has not reported is shown as Pending: neither says
anything about health.`

const example = `  # What the probes of a cluster said last
  kubectl probe status -c erda-cloud

  # Two probes of two clusters, with nodes
  kubectl probe status -c erda-cloud,edge-2 -p k8s,host -o wide

  # Fail with exit code 3 when a checker reports ERROR
  kubectl probe status -c erda-cloud --fail-on error`

// Options of the command.
type Options struct {
	genericiooptions.IOStreams
	flags    *fleet.Flags
	print    *output.Flags
	clusters []string
	probes   []string
	failOn   string

	fleet *fleet.Fleet
	now   time.Time
}

// New makes the command.
func New(flags *fleet.Flags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{IOStreams: streams, flags: flags, print: output.NewFlags(""), failOn: string(output.FailNever)}
	cmd := &cobra.Command{
		Use:     "status [-c CLUSTER[,CLUSTER...]] [-p PROBE[,PROBE...]]",
		Short:   "Show the latest results of the scheduled probes",
		Long:    long,
		Example: example,
		Args:    exit.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return err
			}
			if err := o.Complete(); err != nil {
				return err
			}
			return o.Run(cmd.Context())
		},
	}
	cmd.Flags().StringSliceVarP(&o.clusters, "cluster", "c", nil, "Clusters to ask. Without it: the cluster of the current context.")
	cmd.Flags().StringSliceVarP(&o.probes, "probes", "p", nil, "Probes to show. Without it: all.")
	cmd.Flags().StringVar(&o.failOn, "fail-on", o.failOn,
		"Results that make the command fail: never, error (exit code 3) or warn (4). What could not be judged then ends with 5.")
	o.print.AddFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("cluster", completion.Clusters(flags))
	_ = cmd.RegisterFlagCompletionFunc("probes", completion.Probes(flags, func() string {
		if len(o.clusters) == 0 {
			return ""
		}
		return o.clusters[0]
	}))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(output.FailOnValues(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// Validate checks what needs no cluster.
func (o *Options) Validate() error {
	slices.Sort(o.clusters)
	o.clusters = slices.Compact(o.clusters)
	if err := o.flags.Validate(o.clusters...); err != nil {
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

// Complete opens the way to the clusters.
func (o *Options) Complete() error {
	var err error
	o.fleet, err = o.flags.Open(o.ErrOut)
	o.now = time.Now()
	return err
}

// Run reads and prints the results.
func (o *Options) Run(ctx context.Context) error {
	if len(o.clusters) == 0 {
		results, err := o.local(ctx)
		if err != nil {
			return err
		}
		return o.finish(results, nil)
	}
	found := make([][]output.Result, len(o.clusters))
	failed := make([]error, len(o.clusters))
	workqueue.ParallelizeUntil(ctx, atOnce, len(o.clusters), func(i int) {
		found[i], failed[i] = o.managed(ctx, o.clusters[i])
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(o.clusters) == 1 && failed[0] != nil {
		return failed[0]
	}
	return o.finish(slices.Concat(found...), failed)
}

// finish prints what was found, and what could not be read, and tells what that is worth.
func (o *Options) finish(results []output.Result, failed []error) error {
	output.Sort(results)
	var unread []output.ClusterError
	var codes []int
	for i, err := range failed {
		if err != nil {
			unread = append(unread, output.ClusterError{Cluster: o.clusters[i], Message: err.Error()})
			codes = append(codes, exit.Code(err))
		}
	}
	if err := o.show(results, unread); err != nil {
		return err
	}
	for _, err := range failed {
		if err != nil {
			exit.Print(o.ErrOut, err)
		}
	}
	verdict := output.FailOn(o.failOn).Verdict(output.Count(results))
	if len(unread) == 0 {
		return verdict
	}
	// A failed check says more than a cluster that could not be read, a warning less.
	if code := exit.Worst(append(codes, exit.Code(verdict))...); verdict == nil || code != exit.Code(verdict) {
		return exit.New(code, "%d of %d clusters could not be read", len(unread), len(o.clusters))
	}
	return verdict
}

func (o *Options) show(results []output.Result, unread []output.ClusterError) error {
	switch {
	case o.print.Named():
		return o.print.Object(o.Out, names(results)...)
	case !o.print.Human():
		return o.print.Object(o.Out, output.NewStatusReport(results, unread))
	case len(results) == 0 && len(unread) == 0:
		for _, cluster := range o.clusters {
			_, _ = fmt.Fprintf(o.ErrOut, "No probes are attached to cluster %s.\n", cluster)
		}
		if len(o.clusters) == 0 {
			_, _ = fmt.Fprintf(o.ErrOut, "No probes found in namespace %s.\n", o.flags.Namespace())
		}
		return nil
	default:
		return o.print.Results(o.Out, results, len(o.clusters) > 1, o.now)
	}
}

// names are the ProbeStatuses of results, once each.
func names(results []output.Result) []runtime.Object {
	var objects []runtime.Object
	seen := map[[2]string]bool{}
	for _, result := range results {
		key := [2]string{result.Cluster, result.Prober}
		if seen[key] {
			continue
		}
		seen[key] = true
		objects = append(objects, &kubeproberv1.ProbeStatus{
			TypeMeta:   metav1.TypeMeta{APIVersion: kubeproberv1.GroupVersion.String(), Kind: "ProbeStatus"},
			ObjectMeta: metav1.ObjectMeta{Name: result.Prober},
		})
	}
	return objects
}

// managed reads the results of a managed cluster, and a row for each attached probe that has none.
func (o *Options) managed(ctx context.Context, name string) ([]output.Result, error) {
	cluster, err := o.fleet.Cluster(ctx, name)
	if err != nil {
		return nil, err
	}
	statuses, err := o.fleet.Statuses(ctx, cluster)
	if err != nil {
		return nil, err
	}
	attached := fleet.Attached(cluster)
	results, reported := o.collect(name, statuses)
	if err := o.flags.CheckProbes(name, o.probes, append(reported, attached...)); err != nil {
		return nil, err
	}
	for _, probe := range attached {
		if o.wants(probe) && !slices.Contains(reported, probe) {
			results = append(results, output.Pending(name, probe, whyPending(cluster, probe)))
		}
	}
	return results, nil
}

// local reads the results of the cluster of the kubeconfig.
func (o *Options) local(ctx context.Context) ([]output.Result, error) {
	statuses, probes, err := o.fleet.LocalStatuses(ctx)
	if err != nil {
		return nil, err
	}
	if len(statuses) == 0 && len(probes) == 0 {
		return nil, o.suggestClusters(ctx)
	}
	results, have := o.collect("", statuses)
	reported := slices.Clone(have)
	for i := range probes {
		have = append(have, probes[i].Name)
		if o.wants(probes[i].Name) && !slices.Contains(reported, probes[i].Name) {
			results = append(results, output.Pending("", probes[i].Name, whyUnscheduled(&probes[i])))
		}
	}
	return results, o.flags.CheckProbes("", o.probes, slices.Compact(slices.Sorted(slices.Values(have))))
}

// suggestClusters is the error of asking a master, which has no results of its own, without naming a cluster. It is nil
// where there are no Clusters, or they cannot be listed: then there is nothing better to say than that nothing was found.
func (o *Options) suggestClusters(ctx context.Context) error {
	names, err := o.fleet.ClusterNames(ctx)
	if err != nil || len(names) == 0 {
		return nil //nolint:nilerr // documented
	}
	suggested := exit.New(exit.Usage, "there are no probes in namespace %s of the current cluster, which is a master: name a cluster with -c",
		o.flags.Namespace())
	return suggested.Then(o.flags.ProbeCommand("status", names[0]), o.flags.Kubectl("get", "cluster"))
}

// collect makes the results of those ProbeStatuses that are wanted; have names them all.
func (o *Options) collect(cluster string, statuses []kubeproberv1.ProbeStatus) (results []output.Result, have []string) {
	for i := range statuses {
		have = append(have, statuses[i].Name)
		if o.wants(statuses[i].Name) {
			results = append(results, output.FromStatus(cluster, &statuses[i], o.now)...)
		}
	}
	return results, have
}

func (o *Options) wants(probe string) bool {
	return len(o.probes) == 0 || slices.Contains(o.probes, probe)
}

// whyPending tells why an attached probe has no result.
func whyPending(cluster *kubeproberv1.Cluster, probe string) string {
	if slices.Contains(cluster.Status.AttachedProbes, probe) {
		return "no run has ended yet"
	}
	synced := meta.FindStatusCondition(cluster.Status.Conditions, kubeproberv1.ClusterProbesSyncedCondition)
	if synced != nil && synced.Status != metav1.ConditionTrue {
		return synced.Message
	}
	return "the master has not handed it to the cluster yet"
}

// whyUnscheduled tells why a probe of this cluster has no result.
func whyUnscheduled(probe *kubeproberv1.Probe) string {
	scheduled := meta.FindStatusCondition(probe.Status.Conditions, kubeproberv1.ProbeScheduledCondition)
	switch {
	case scheduled == nil:
		return "no agent has taken it up yet"
	case scheduled.Status != metav1.ConditionTrue:
		return scheduled.Message
	default:
		return "no run has ended yet"
	}
}
