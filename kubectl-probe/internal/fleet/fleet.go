// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// readTimeout bounds one question to a cluster, all its requests together.
const readTimeout = 30 * time.Second

// gatewayPath of the aggregated API, below the path of the API server.
const gatewayPath = "/apis/proxy.kubeprober.erda.cloud/v1"

// Fleet is the cluster of the kubeconfig, which is a master or a managed cluster, and what can be reached through it.
type Fleet struct {
	flags     *Flags
	config    *rest.Config
	transport *http.Client
	client    *client
	gateway   *master
	warn      io.Writer
	warnOnce  sync.Once
}

// Open reads the kubeconfig and the configuration file. It makes no request. Warnings go to warn.
func (f *Flags) Open(warn io.Writer) (*Fleet, error) {
	config, err := f.Kube.ToRESTConfig()
	if err != nil && !clientcmd.IsEmptyConfig(err) {
		return nil, exit.New(exit.Usage, "reading the kubeconfig: %w", err).Then("kubectl config get-contexts")
	}
	if err != nil || f.guessed(config) {
		return nil, exit.New(exit.Usage, "no kubeconfig was found: no cluster to talk to").Then("kubectl config get-contexts")
	}
	config = rest.CopyConfig(config)
	config.UserAgent = rest.DefaultKubernetesUserAgent()
	config.WarningHandler = rest.NewWarningWriter(warn, rest.WarningWriterOptions{Deduplicate: true})
	gateway, err := loadMaster(f.ConfigPath, os.Getenv, warn)
	if err != nil {
		return nil, err
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, exit.New(exit.Usage, "using the kubeconfig: %w", err)
	}
	fleet := &Fleet{flags: f, config: config, transport: transport, gateway: gateway, warn: warn}
	fleet.client, err = newClient(config, transport, serverRetries, fleet.explainMaster)
	if err != nil {
		return nil, err
	}
	return fleet, nil
}

// guessed tells whether nothing named the API server, so that the client library fell back to a port of this machine.
func (f *Flags) guessed(config *rest.Config) bool {
	if address, err := url.Parse(config.Host); err != nil || address.Host != "localhost:8080" {
		return false
	}
	raw, err := f.Kube.ToRawKubeConfigLoader().RawConfig()
	return err == nil && len(raw.Clusters) == 0 && (f.Kube.APIServer == nil || *f.Kube.APIServer == "")
}

// serverRetries is how often a request to the API server of the kubeconfig is made again when the server asks for that.
const serverRetries = 3

// Cluster reads one Cluster of the master. An unknown one is an error that lists names like it.
func (f *Fleet) Cluster(ctx context.Context, name string) (*kubeproberv1.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	cluster := &kubeproberv1.Cluster{}
	err := f.client.get(ctx, call{resource: "clusters", name: name}, cluster)
	var known *exit.Error
	if errors.As(err, &known) && apierrors.IsNotFound(err) && namesObject(err) {
		return nil, f.unknownCluster(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return cluster, nil
}

// unknownCluster explains that there is no such Cluster. That names like it cannot be listed is no reason to say less.
func (f *Fleet) unknownCluster(ctx context.Context, name string) error {
	unknown := exit.New(exit.General, "cluster %q not found", name)
	if names, err := f.ClusterNames(ctx); err == nil {
		if near := Near(name, names); len(near) > 0 {
			unknown = exit.New(exit.General, "cluster %q not found; did you mean %s?", name, orList(near))
		}
	}
	return unknown.Then(f.flags.Kubectl("get", "cluster"))
}

// ClusterNames lists the Clusters of the master, sorted.
func (f *Fleet) ClusterNames(ctx context.Context) ([]string, error) {
	clusters, err := f.client.clusters(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(clusters))
	for i := range clusters {
		names = append(names, clusters[i].Name)
	}
	slices.Sort(names)
	return names, nil
}

// LocalStatuses reads the results, and the Probes that should have some, of the cluster of the kubeconfig.
func (f *Fleet) LocalStatuses(ctx context.Context) ([]kubeproberv1.ProbeStatus, []kubeproberv1.Probe, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	statuses, err := f.client.probeStatuses(ctx, f.flags.Namespace())
	if err != nil {
		return nil, nil, err
	}
	probes, err := f.client.probes(ctx, f.flags.Namespace())
	return statuses, probes, err
}

// LocalProbes lists the Probes of the cluster of the kubeconfig, in the agent's namespace.
func (f *Fleet) LocalProbes(ctx context.Context) ([]kubeproberv1.Probe, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return f.client.probes(ctx, f.flags.Namespace())
}

// Statuses reads the results of a managed cluster through the gateway: at the master's own address if one is configured,
// else through the API server of the kubeconfig, else, when that does not serve the gateway's API, at the address that the
// master has inside its cluster.
func (f *Fleet) Statuses(ctx context.Context, cluster *kubeproberv1.Cluster) ([]kubeproberv1.ProbeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	namespace := cluster.Status.ProbeNamespace
	if namespace == "" {
		namespace = DefaultAgentNamespace
	}
	if f.gateway != nil {
		return f.directStatuses(ctx, f.gateway, cluster, namespace)
	}
	proxied := rest.CopyConfig(f.config)
	base, _, err := rest.DefaultServerUrlFor(f.config)
	if err != nil {
		return nil, exit.New(exit.Usage, "using the server of the kubeconfig: %w", err)
	}
	base.Path = path.Join("/", base.Path, gatewayPath, "clusters", url.PathEscape(cluster.Name), "proxy")
	proxied.Host = base.String()
	through, err := newClient(proxied, f.transport, 0, f.explainManaged(cluster))
	if err != nil {
		return nil, err
	}
	statuses, err := through.probeStatuses(ctx, namespace)
	if !errors.Is(err, errNoAggregatedAPI) {
		return statuses, err
	}
	address, err := parseMaster(fallbackMaster)
	if err != nil {
		return nil, fmt.Errorf("parsing the fallback address: %w", err)
	}
	return f.directStatuses(ctx, &master{address: address, from: "the default, as this API server does not serve " + gatewayPath}, cluster, namespace)
}

// directStatuses reads the results of a managed cluster through the master's own address.
func (f *Fleet) directStatuses(ctx context.Context, at *master, cluster *kubeproberv1.Cluster, namespace string) ([]kubeproberv1.ProbeStatus, error) {
	config, err := f.directConfig(at, cluster.Name)
	if err != nil {
		return nil, err
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, exit.New(exit.Usage, "connecting to the master %s (from %s): %w", at.address, at.from, err)
	}
	through, err := newClient(config, transport, 0, f.explainDirect(at, cluster))
	if err != nil {
		return nil, err
	}
	return through.probeStatuses(ctx, namespace)
}

// directConfig is how the master's own address is reached. Only the token of the kubeconfig is taken along: its
// certificates belong to the API server.
func (f *Fleet) directConfig(at *master, cluster string) (*rest.Config, error) {
	base := *at.address
	base.Path = path.Join("/clusters", url.PathEscape(cluster), "proxy")
	config := &rest.Config{
		Host:            base.String(),
		BearerToken:     f.config.BearerToken,
		BearerTokenFile: f.config.BearerTokenFile,
		AuthProvider:    f.config.AuthProvider,
		ExecProvider:    f.config.ExecProvider,
		UserAgent:       f.config.UserAgent,
		WarningHandler:  f.config.WarningHandler,
		Timeout:         f.config.Timeout,
		Proxy:           f.config.Proxy,
		TLSClientConfig: rest.TLSClientConfig{CAFile: at.caFile},
	}
	if config.BearerToken == "" && config.BearerTokenFile == "" && config.AuthProvider == nil && config.ExecProvider == nil {
		return nil, exit.New(exit.Usage,
			"the master's address %s (from %s) takes bearer tokens only, and the kubeconfig has none", at.address, at.from).
			Then("use a kubeconfig user with a token, or remove the address to go through the API server")
	}
	if f.config.Impersonate.UserName != "" || len(f.config.Impersonate.Groups) > 0 || f.config.Impersonate.UID != "" {
		return nil, exit.New(exit.Usage, "impersonation works through the API server only, not at the master's address %s (from %s)",
			at.address, at.from)
	}
	if at.crossesNetwork() {
		f.warnOnce.Do(func() {
			_, _ = fmt.Fprintf(f.warn, "warning: your token goes to %s in clear text; use wss:// where others can read the network\n", at.address)
		})
	}
	return config, nil
}
