// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// Attached names the probes that the labels of a Cluster attach to it, sorted.
func Attached(cluster *kubeproberv1.Cluster) []string {
	var names []string
	for key, value := range cluster.Labels {
		if name, ok := kubeproberv1.AttachedProbe(key, value); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ProbeNames cleans the value of --probes: names once each, in the order given.
func ProbeNames(given []string) ([]string, error) {
	var names []string
	for _, name := range given {
		name = strings.TrimSpace(name)
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return nil, exit.New(exit.Usage, "--probes: %q is not the name of a probe: %s", name, problems[0])
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) > kubeproberv1.MaxRunProbes {
		return nil, exit.New(exit.Usage, "--probes names %d probes, more than %d", len(names), kubeproberv1.MaxRunProbes)
	}
	return names, nil
}

// CheckProbes refuses names that are not among those of the cluster, which it lists.
func (f *Flags) CheckProbes(cluster string, wanted, have []string) error {
	for _, name := range wanted {
		if slices.Contains(have, name) {
			continue
		}
		if cluster == "" {
			return exit.New(exit.General, "probe %q not found in namespace %s; %s", name, f.Namespace(), inventory("there are", have)).
				Then(f.Kubectl("get", "probe", "-n", f.Namespace()))
		}
		refused := exit.New(exit.General, "probe %q is not attached to cluster %q; %s", name, cluster, inventory("attached:", have))
		return refused.Then(f.Kubectl("label", "cluster", cluster, kubeproberv1.AttachLabel(name)+"="+kubeproberv1.AttachLabelValue))
	}
	return nil
}

// NoProbes tells that a cluster has none to run.
func (f *Flags) NoProbes(cluster string) *exit.Error {
	if cluster == "" {
		return exit.New(exit.General, "there are no probes in namespace %s of the current cluster", f.Namespace()).
			Then(f.Kubectl("get", "probe", "-A"))
	}
	return exit.New(exit.General, "no probes are attached to cluster %q", cluster).
		Then(f.Kubectl("label", "cluster", cluster, kubeproberv1.AttachLabel("NAME")+"="+kubeproberv1.AttachLabelValue))
}

func inventory(intro string, names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	return fmt.Sprintf("%s %s", intro, strings.Join(names, ", "))
}
