// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet gives the commands access to a master and, through its gateway, to the clusters that it manages: where
// they are, with whose credentials, and what the errors on the way mean to the user. It knows nothing of output.
package fleet

import (
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// Namespaces that the commands read when no flag says otherwise.
const (
	// DefaultProbeNamespace holds the Probes and ProbeRuns of a master.
	DefaultProbeNamespace = "default"
	// DefaultAgentNamespace is where an agent runs, in a managed cluster.
	DefaultAgentNamespace = "kubeprober"
)

// Flags are the flags of every command that say which clusters to talk to.
type Flags struct {
	// Kube holds kubectl's own flags, without --cluster.
	Kube *genericclioptions.ConfigFlags
	// ConfigPath is the value of --kubeprober-config.
	ConfigPath string
	// ProbeNamespace is the value of --probe-namespace.
	ProbeNamespace string
}

// NewFlags returns the flags with their defaults.
func NewFlags() *Flags {
	kube := genericclioptions.NewConfigFlags(true)
	// `--cluster` names a Cluster of Kubeprober, and nothing is cached.
	kube.ClusterName = nil
	kube.CacheDir = nil
	return &Flags{Kube: kube, ProbeNamespace: DefaultProbeNamespace}
}

// AddFlags registers the flags.
func (f *Flags) AddFlags(flags *pflag.FlagSet) {
	f.Kube.AddFlags(flags)
	if namespace := flags.Lookup("namespace"); namespace != nil {
		namespace.Usage = "Namespace of the agent, for the commands that run without --cluster (default \"" + DefaultAgentNamespace + "\")"
	}
	flags.StringVar(&f.ConfigPath, "kubeprober-config", f.ConfigPath,
		"Path to the configuration file of kubectl probe (default $"+EnvConfig+" or ~/.kubeprober/config)")
	flags.StringVar(&f.ProbeNamespace, "probe-namespace", f.ProbeNamespace,
		"Namespace of the master's Probes and ProbeRuns")
}

// Namespace of the agent, for a command without --cluster.
func (f *Flags) Namespace() string {
	if f.Kube.Namespace != nil && *f.Kube.Namespace != "" {
		return *f.Kube.Namespace
	}
	return DefaultAgentNamespace
}

// Validate checks what the flags say, for a command that addresses the named clusters, or the current one if there is none.
func (f *Flags) Validate(clusters ...string) error {
	for _, name := range clusters {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return exit.New(exit.Usage, "%q is not the name of a cluster: %s", name, problems[0]).Then("kubectl get cluster")
		}
	}
	if len(clusters) > 0 && f.Kube.Namespace != nil && *f.Kube.Namespace != "" {
		return exit.New(exit.Usage, "--namespace is the agent's namespace in the current cluster and excludes --cluster").
			Then("use --probe-namespace for the namespace of the master's probes and runs")
	}
	for flag, namespace := range map[string]string{"probe-namespace": f.ProbeNamespace, "namespace": f.Namespace()} {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return exit.New(exit.Usage, "--%s %q is not the name of a namespace: %s", flag, namespace, problems[0])
		}
	}
	return nil
}

// ProbeCommand is a command line of this plugin about the same cluster, and the same namespaces, as these flags. An empty
// cluster leaves --cluster out.
func (f *Flags) ProbeCommand(verb, cluster string, args ...string) string {
	words := []string{"probe", verb}
	if cluster != "" {
		words = append(words, "-c", cluster)
	}
	words = append(words, args...)
	if f.ProbeNamespace != DefaultProbeNamespace && cluster != "" {
		words = append(words, "--probe-namespace", f.ProbeNamespace)
	}
	if namespace := f.Namespace(); namespace != DefaultAgentNamespace && cluster == "" {
		words = append(words, "-n", namespace)
	}
	return f.Kubectl(words...)
}

// Kubectl is a command line of kubectl about the same cluster as these flags.
func (f *Flags) Kubectl(args ...string) string {
	words := append([]string{"kubectl"}, args...)
	for _, option := range []struct {
		flag  string
		value *string
	}{{"kubeconfig", f.Kube.KubeConfig}, {"context", f.Kube.Context}, {"as", f.Kube.Impersonate}} {
		if option.value != nil && *option.value != "" {
			words = append(words, "--"+option.flag, *option.value)
		}
	}
	return strings.Join(words, " ")
}
