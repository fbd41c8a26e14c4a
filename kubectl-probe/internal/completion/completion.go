// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package completion offers names of clusters, probes and runs to the shell. It stays silent when it cannot ask for them.
package completion

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/fleet"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/output"
)

// timeout bounds how long the shell waits.
const timeout = 3 * time.Second

// source lists what can be completed.
type source func(ctx context.Context, from *fleet.Fleet) ([]string, error)

// Clusters completes the names of clusters.
func Clusters(flags *fleet.Flags) cobra.CompletionFunc {
	return complete(flags, func(ctx context.Context, from *fleet.Fleet) ([]string, error) {
		return from.ClusterNames(ctx)
	})
}

// Probes completes the names of the probes of a cluster, which is read when the shell asks.
func Probes(flags *fleet.Flags, cluster func() string) cobra.CompletionFunc {
	return complete(flags, func(ctx context.Context, from *fleet.Fleet) ([]string, error) {
		if name := cluster(); name != "" {
			found, err := from.Cluster(ctx, name)
			if err != nil {
				return nil, err
			}
			return fleet.Attached(found), nil
		}
		probes, err := from.LocalProbes(ctx)
		var names []string
		for i := range probes {
			names = append(names, probes[i].Name)
		}
		return names, err
	})
}

// Runs completes the IDs of the runs of a cluster, newest first, with what they ran.
func Runs(flags *fleet.Flags, cluster func() string) cobra.CompletionFunc {
	return complete(flags, func(ctx context.Context, from *fleet.Fleet) ([]string, error) {
		runs, err := from.Runs(ctx, cluster())
		var ids []string
		for i := range runs {
			about := string(output.Phase(&runs[i])) + " " + strings.Join(output.RunProbes(&runs[i]), ",")
			ids = append(ids, cobra.CompletionWithDesc(runs[i].Name, about))
		}
		return ids, err
	})
}

// complete asks the source and keeps what begins as typed. The last name of a comma-separated list is completed.
func complete(flags *fleet.Flags, list source) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		from, err := flags.Open(io.Discard)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := list(ctx, from)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		before := typed[:strings.LastIndex(typed, ",")+1]
		given := strings.Split(before, ",")
		var offers []string
		for _, name := range names {
			if strings.HasPrefix(before+name, typed) && !slices.Contains(given, name) {
				offers = append(offers, before+name)
			}
		}
		return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
