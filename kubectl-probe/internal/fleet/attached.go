// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// CheckRun refuses a one-time diagnosis of a cluster by probes that the master does not have, or by none. A probe that is
// not attached may be run: attaching is about schedules.
func (f *Fleet) CheckRun(ctx context.Context, cluster *kubeproberv1.Cluster, wanted []string) error {
	attached := Attached(cluster)
	if len(wanted) == 0 && len(attached) == 0 {
		return f.flags.NoProbes(cluster.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for _, name := range wanted {
		if slices.Contains(attached, name) {
			continue
		}
		probe := call{resource: "probes", namespace: f.flags.ProbeNamespace, name: name}
		err := f.client.get(ctx, probe, &kubeproberv1.Probe{})
		if apierrors.IsNotFound(err) && namesObject(err) {
			return exit.New(exit.General, "probe %q not found in namespace %s; attached to cluster %q: %s",
				name, f.flags.ProbeNamespace, cluster.Name, cmp.Or(strings.Join(attached, ", "), "none")).
				Then(f.flags.Kubectl("get", "probe", "-n", f.flags.ProbeNamespace))
		}
		if err != nil {
			return err
		}
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
