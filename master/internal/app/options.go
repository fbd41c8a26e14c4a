// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kubeprober/kubeprober/master/internal/certs"
)

// SecretEnv is the environment variable that holds the secret which agents present.
const SecretEnv = "SERVER_SECRET_KEY"

// namespaceEnv is the environment variable that holds the namespace of the master.
const namespaceEnv = "POD_NAMESPACE"

// Options configure the master.
type Options struct {
	HubAddress, HubCertFile, HubKeyFile string
	SecretFile                          string
	GatewayAddress                      string
	WebhookPort                         int
	MetricsAddress, HealthAddress       string
	CertProvider                        string
	CertSecret, CertDir                 string
	Namespace, ProbeNamespace           string
	LeaderElection                      bool
	Concurrency                         int

	// secrets are set by Complete.
	secrets [][]byte
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	namespace := os.Getenv(namespaceEnv)
	if namespace == "" {
		namespace = "kubeprober"
	}
	return &Options{
		HubAddress: ":8088", GatewayAddress: ":6443", WebhookPort: 9443, MetricsAddress: ":8443", HealthAddress: ":8081",
		CertProvider: string(certs.ProviderSelf), CertSecret: "probe-master-certs", CertDir: "/run/probe-master",
		Namespace: namespace, ProbeNamespace: "default", Concurrency: 32,
	}
}

// AddFlags adds the flags of all options.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.HubAddress, "hub-bind-address", o.HubAddress, "Address that serves tunnels, heartbeats and the direct door of the gateway.")
	flags.StringVar(&o.HubCertFile, "hub-tls-cert-file", o.HubCertFile, "Certificate of the hub. Without it the hub serves plain HTTP.")
	flags.StringVar(&o.HubKeyFile, "hub-tls-key-file", o.HubKeyFile, "Key of the hub's certificate.")
	flags.StringVar(&o.SecretFile, "secret-key-file", o.SecretFile, "File with the secrets that agents may present, one a line; it wins over "+SecretEnv+". Two lines allow to replace a secret without an outage.")
	flags.StringVar(&o.GatewayAddress, "gateway-bind-address", o.GatewayAddress, "Address that serves the aggregated API.")
	flags.IntVar(&o.WebhookPort, "webhook-port", o.WebhookPort, "Port that serves the webhooks.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "Address that serves metrics to whom may get /metrics; 0 for none.")
	flags.StringVar(&o.HealthAddress, "health-probe-bind-address", o.HealthAddress, "Address that serves /healthz and /readyz.")
	flags.StringVar(&o.CertProvider, "cert-provider", o.CertProvider, "Who issues the certificate of the webhooks and the aggregated API: self or cert-manager.")
	flags.StringVar(&o.CertSecret, "cert-secret", o.CertSecret, "Secret in the master's namespace that holds that certificate.")
	flags.StringVar(&o.CertDir, "cert-dir", o.CertDir, "Directory that the master may write its certificate to.")
	flags.StringVar(&o.Namespace, "namespace", o.Namespace, "Namespace that the master runs in. Default: "+namespaceEnv+".")
	flags.StringVar(&o.ProbeNamespace, "probe-namespace", o.ProbeNamespace, "Namespace that holds the Probes and ProbeRuns of the fleet.")
	flags.BoolVar(&o.LeaderElection, "leader-elect", o.LeaderElection, "Let one of several replicas lead. Tunnels end at the leader, so the others only stand by.")
	flags.IntVar(&o.Concurrency, "max-concurrent-reconciles", o.Concurrency, "How many Clusters, and how many ProbeRuns, are reconciled at once.")
}

// Complete reads the secrets and checks the options. A master without a secret would let everybody in, so it refuses.
func (o *Options) Complete() error {
	if (o.HubCertFile == "") != (o.HubKeyFile == "") {
		return errors.New("--hub-tls-cert-file and --hub-tls-key-file are set together or not at all")
	}
	if provider := certs.Provider(o.CertProvider); provider != certs.ProviderSelf && provider != certs.ProviderCertManager {
		return fmt.Errorf("--cert-provider is %q: it must be %s or %s", o.CertProvider, certs.ProviderSelf, certs.ProviderCertManager)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("--max-concurrent-reconciles is %d: it must be at least 1", o.Concurrency)
	}
	text := os.Getenv(SecretEnv)
	if o.SecretFile != "" {
		data, err := os.ReadFile(o.SecretFile)
		if err != nil {
			return fmt.Errorf("reading --secret-key-file: %w", err)
		}
		text = string(data)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			o.secrets = append(o.secrets, []byte(line))
		}
	}
	if len(o.secrets) == 0 {
		return fmt.Errorf("no secret: set %s or --secret-key-file to the secret_key that the agents use", SecretEnv)
	}
	return nil
}
