// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kubeprober/kubeprober/master/internal/certs"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// SecretEnv is the environment variable that holds the secret which agents present.
const SecretEnv = "SERVER_SECRET_KEY"

// namespaceEnv is the environment variable that holds the namespace of the master.
const namespaceEnv = "POD_NAMESPACE"

// Options configure the master.
type Options struct {
	HubAddress, HubCertFile, HubKeyFile string
	SecretFile                          string
	SecretOverlap                       time.Duration
	GatewayAddress                      string
	WebhookPort                         int
	MetricsAddress, HealthAddress       string
	CertProvider                        string
	CertSecret, CertDir                 string
	Namespace, ProbeNamespace           string
	LeaderElection                      bool
	Concurrency, MaxClusters            int
	DrainTimeout                        time.Duration

	// secrets is set by Complete.
	secrets hub.SecretSource
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
		Namespace: namespace, ProbeNamespace: "default", Concurrency: 32, MaxClusters: 20_000,
		SecretOverlap: 10 * time.Minute, DrainTimeout: 15 * time.Second,
	}
}

// AddFlags adds the flags of all options.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.HubAddress, "hub-bind-address", o.HubAddress, "Address that serves tunnels, heartbeats and the direct door of the gateway.")
	flags.StringVar(&o.HubCertFile, "hub-tls-cert-file", o.HubCertFile, "Certificate of the hub. Without it the hub serves plain HTTP.")
	flags.StringVar(&o.HubKeyFile, "hub-tls-key-file", o.HubKeyFile, "Key of the hub's certificate.")
	flags.StringVar(&o.SecretFile, "secret-key-file", o.SecretFile, "File with the secrets that agents may present, one a line; it wins over "+SecretEnv+". It is read again when it changes.")
	flags.DurationVar(&o.SecretOverlap, "secret-key-overlap", o.SecretOverlap, "How long the secrets that were in --secret-key-file before a change stay valid, so that agents can be given the new one.")
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
	flags.IntVar(&o.MaxClusters, "max-clusters", o.MaxClusters, "How many Clusters there may be for agents to register further ones.")
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", o.DrainTimeout, "How long requests under way may take when the master ends. The pod needs 25 seconds more as its grace period.")
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
	if o.MaxClusters < 1 {
		return fmt.Errorf("--max-clusters is %d: it must be at least 1", o.MaxClusters)
	}
	for name, value := range map[string]time.Duration{"secret-key-overlap": o.SecretOverlap, "drain-timeout": o.DrainTimeout} {
		if value < 0 {
			return fmt.Errorf("--%s is %s: it must not be negative", name, value)
		}
	}
	return o.completeSecrets()
}

// completeSecrets finds where the secrets are.
func (o *Options) completeSecrets() error {
	if o.SecretFile != "" {
		file, err := hub.NewSecretFile(o.SecretFile, o.SecretOverlap, ctrl.Log.WithName("secrets"))
		if err != nil {
			return fmt.Errorf("using --secret-key-file: %w", err)
		}
		o.secrets = file.Secrets
		return nil
	}
	var secrets [][]byte
	for line := range strings.SplitSeq(os.Getenv(SecretEnv), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, []byte(line))
		}
	}
	if len(secrets) == 0 {
		return fmt.Errorf("no secret: set %s or --secret-key-file to the secret_key that the agents use", SecretEnv)
	}
	o.secrets = func() [][]byte { return secrets }
	return nil
}
