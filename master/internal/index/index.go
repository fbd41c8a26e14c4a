// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package index says how the master finds its own objects: the Clusters of a Probe and the ProbeRuns of a Cluster. It
// only reads.
package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// clusterProbes indexes Clusters by the probes that they carry a label for or hold a copy of.
	clusterProbes = "probes"
	// runCluster indexes ProbeRuns by the Cluster that they diagnose.
	runCluster = "cluster"
)

// Add registers the indexes; the functions of this package need them.
func Add(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &kubeproberv1.Cluster{}, clusterProbes, probesOfCluster); err != nil {
		return fmt.Errorf("indexing Clusters by probe: %w", err)
	}
	if err := indexer.IndexField(ctx, &kubeproberv1.ProbeRun{}, runCluster, clusterOfRun); err != nil {
		return fmt.Errorf("indexing ProbeRuns by cluster: %w", err)
	}
	return nil
}

func probesOfCluster(object client.Object) []string {
	cluster, ok := object.(*kubeproberv1.Cluster)
	if !ok {
		return nil
	}
	names := append(AttachedProbes(cluster), cluster.Status.AttachedProbes...)
	slices.Sort(names)
	return slices.Compact(names)
}

func clusterOfRun(object client.Object) []string {
	run, ok := object.(*kubeproberv1.ProbeRun)
	if !ok || run.Spec.ClusterName == "" {
		return nil
	}
	return []string{run.Spec.ClusterName}
}

// AttachedProbes are the names that the labels of a Cluster attach, sorted.
func AttachedProbes(cluster *kubeproberv1.Cluster) []string {
	var names []string
	for key, value := range cluster.Labels {
		if name, ok := kubeproberv1.AttachedProbe(key, value); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Attaches tells whether a label of the Cluster attaches the probe.
func Attaches(cluster *kubeproberv1.Cluster, probe string) bool {
	return cluster.Labels[kubeproberv1.AttachLabel(probe)] == kubeproberv1.AttachLabelValue
}

// ClustersOfProbe returns the Clusters that carry a label for a probe or hold a copy of it, by name. They are shared with
// the cache: nobody may change them.
func ClustersOfProbe(ctx context.Context, reader client.Reader, probe string) ([]kubeproberv1.Cluster, error) {
	clusters := &kubeproberv1.ClusterList{}
	if err := reader.List(ctx, clusters, client.MatchingFields{clusterProbes: probe}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Clusters of Probe %s: %w", probe, err)
	}
	slices.SortFunc(clusters.Items, func(a, b kubeproberv1.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return clusters.Items, nil
}

// RunsOfCluster returns the ProbeRuns that diagnose a Cluster, newest first. They are shared with the cache: nobody may
// change them.
func RunsOfCluster(ctx context.Context, reader client.Reader, namespace, cluster string) ([]kubeproberv1.ProbeRun, error) {
	runs := &kubeproberv1.ProbeRunList{}
	err := reader.List(ctx, runs, client.InNamespace(namespace), client.MatchingFields{runCluster: cluster}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the ProbeRuns of Cluster %s: %w", cluster, err)
	}
	// Of two that were made in one second the larger ID is the newer.
	slices.SortFunc(runs.Items, func(a, b kubeproberv1.ProbeRun) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return cmp.Compare(b.Name, a.Name)
	})
	return runs.Items, nil
}
