// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"
)

const (
	dumpsAtOnce = 4
	dumpTimeout = 10 * time.Second
)

// DumpOnFailure leaves what there is to know of the clusters in bin/e2e-logs/<spec>/<cluster>/ when the spec has failed.
func (w *Workspace) DumpOnFailure(ctx context.Context, clusters ...*Cluster) {
	report := ginkgo.CurrentSpecReport()
	if !report.Failed() {
		return
	}
	var group sync.WaitGroup
	for _, c := range clusters {
		if c != nil && c.Client != nil {
			group.Go(func() { c.dump(ctx, w.Bin("e2e-logs", fileName(report.FullText()), c.Name)) })
		}
	}
	group.Wait()
}

func (c *Cluster) dump(ctx context.Context, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		ginkgo.AddReportEntry("dumping cluster "+c.Name, err)
		return
	}
	calls := map[string][]string{
		"objects.txt":     {"get", "nodes,pods,jobs,deployments,services,leases", "-A", "-o", "wide"},
		"events.txt":      {"get", "events", "-A", "--sort-by", ".lastTimestamp"},
		"describe.txt":    {"describe", "pods,jobs,deployments", "-A"},
		"nodes.txt":       {"describe", "nodes"},
		"kubeprober.yaml": {"get", "kubeprober", "-A", "-o", "yaml"},
		"apis.txt":        {"get", "apiservices,crds,validatingwebhookconfigurations", "-o", "wide"},
		"configmaps.yaml": {"get", "configmaps", "-n", "kubeprober", "-o", "yaml"},
	}
	for _, pod := range c.pods(ctx) {
		namespace, name, _ := strings.Cut(pod, "/")
		calls["log-"+name+".txt"] = []string{"logs", "-n", namespace, "--all-containers", "--timestamps", name}
		calls["log-"+name+"-previous.txt"] = []string{"logs", "-n", namespace, "--all-containers", "--timestamps", "--previous", name}
	}
	var group sync.WaitGroup
	turn := make(chan struct{}, dumpsAtOnce)
	for name, args := range calls {
		turn <- struct{}{}
		group.Go(func() {
			defer func() { <-turn }()
			if err := c.dumpOne(ctx, filepath.Join(dir, name), args); err != nil {
				ginkgo.AddReportEntry("dumping cluster "+c.Name, err)
			}
		})
	}
	group.Wait()
	ginkgo.AddReportEntry("logs of cluster "+c.Name, dir)
}

// dumpOne keeps what a call of kubectl prints. It is bounded: a node that is away gives no logs.
func (c *Cluster) dumpOne(ctx context.Context, file string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, dumpTimeout)
	defer cancel()
	out, err := c.Kubectl(args...).command(ctx).CombinedOutput()
	if err != nil {
		out = append(out, fmt.Sprintf("\n(%v)\n", err)...)
	}
	return os.WriteFile(file, out, 0o600)
}

// pods are the pods of Kubeprober, as namespace/name.
func (c *Cluster) pods(ctx context.Context) []string {
	out, err := c.Kubectl("get", "pods", "-A", "-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}`).Output(ctx)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(out), func(pod string) bool { return !strings.HasPrefix(pod, "kubeprober") })
}
