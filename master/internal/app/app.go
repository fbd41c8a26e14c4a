// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package app puts the master together: options, the manager with its controllers and webhooks, and the servers of the
// hub and the gateway. It knows what depends on what, and nothing of how any part works.
package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	apiheartbeat "github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/certs"
	"github.com/kubeprober/kubeprober/master/internal/controller/cluster"
	"github.com/kubeprober/kubeprober/master/internal/controller/probe"
	"github.com/kubeprober/kubeprober/master/internal/controller/proberun"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/gateway"
	"github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/master/internal/identity"
	"github.com/kubeprober/kubeprober/master/internal/index"
	"github.com/kubeprober/kubeprober/master/internal/webhook"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	// component is who the master is in Events and leader election.
	component = "probe-master"
	// connectPath is where tunnels are opened.
	connectPath = "/clusteragent/connect"
	// webhookName and apiServiceName are the objects that name the master's servers to the API server.
	webhookName    = "probe-master"
	apiServiceName = "v1.proxy.kubeprober.erda.cloud"
	// tunnelsPath is where the metrics server shows the live tunnels.
	tunnelsPath = "/debug/tunnels"
	// stopTimeout is how long the end of the master may take beyond the time to drain.
	stopTimeout = 15 * time.Second
	// reviewQPS and reviewBurst bound the questions who a caller is and what it may do, in requests per second.
	reviewQPS   = 50
	reviewBurst = 100
)

// Run runs the master until ctx ends.
func Run(ctx context.Context, config *rest.Config, o *Options) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, kubeproberv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("registering kinds: %w", err)
		}
	}
	m, err := newMaster(ctx, config, scheme, o)
	if err != nil {
		return err
	}
	for _, setup := range []func(context.Context) error{m.setupHub, m.setupControllers, m.setupGateway} {
		if err := setup(ctx); err != nil {
			return err
		}
	}
	if err := m.setupServers(); err != nil {
		return err
	}
	return m.mgr.Start(ctx)
}

// master holds the parts that others need.
type master struct {
	options *Options
	mgr     ctrl.Manager
	certs   *certs.Store
	hub     *hub.Hub
	binder  *identity.Binder
	beats   *heartbeat.Store
	fleet   *fleet.Fleet
	auth    *gateway.Auth
	gateway *gateway.Gateway
}

func newMaster(ctx context.Context, config *rest.Config, scheme *runtime.Scheme, o *Options) (*master, error) {
	config = rest.CopyConfig(config)
	// The API server's own flow control is the bound.
	config.QPS = -1
	m := &master{options: o}
	// The webhook and metrics servers are made before the certificate can be watched for.
	withCertificate := func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return m.certs.GetCertificate(hello) }
	}
	namespaced := func(namespace string) map[string]cache.Config { return map[string]cache.Config{namespace: {}} }
	var err error
	m.mgr, err = ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&kubeproberv1.Probe{}:    {Namespaces: namespaced(o.ProbeNamespace)},
				&kubeproberv1.ProbeRun{}: {Namespaces: namespaced(o.ProbeNamespace)},
				&corev1.Secret{}: {Namespaces: map[string]cache.Config{
					o.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", o.CertSecret)},
				}},
			},
		},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Port: o.WebhookPort, TLSOpts: []func(*tls.Config){withCertificate}}),
		Metrics: metricsserver.Options{
			BindAddress: o.MetricsAddress, SecureServing: true, TLSOpts: []func(*tls.Config){withCertificate},
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:        o.HealthAddress,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              component,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(o.DrainTimeout + stopTimeout),
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	if err := index.Add(ctx, m.mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	m.certs, err = certs.Setup(ctx, m.mgr, certs.Options{
		Provider: certs.Provider(o.CertProvider),
		Secret:   types.NamespacedName{Namespace: o.Namespace, Name: o.CertSecret},
		Labels:   map[string]string{"app.kubernetes.io/name": component, "app.kubernetes.io/part-of": "kubeprober"},
		Dir:      o.CertDir,
		DNSNames: dnsNames(o.Namespace),
		Webhook:  webhookName, APIService: apiServiceName,
	})
	return m, err
}

// dnsNames are what the API server, and whoever scrapes metrics, call the master.
func dnsNames(namespace string) []string {
	var names []string
	for _, service := range []string{"probe-master-webhook", "probe-master-api", "probe-master-metrics"} {
		names = append(names, service+"."+namespace+".svc", service+"."+namespace+".svc.cluster.local")
	}
	return names
}

// setupHub makes what tunnels and heartbeats end in.
func (m *master) setupHub(ctx context.Context) error {
	census := identity.NewCensus(m.options.MaxClusters)
	clusters, err := m.mgr.GetCache().GetInformer(ctx, &kubeproberv1.Cluster{})
	if err != nil {
		return fmt.Errorf("watching Clusters: %w", err)
	}
	if err := census.Follow(clusters); err != nil {
		return err
	}
	m.binder = identity.NewBinder(m.mgr.GetClient(), m.mgr.GetAPIReader(), m.mgr.GetEventRecorder(component), census)
	m.hub, err = hub.New(hub.Options{
		Secrets: m.options.secrets,
		Binder:  m.binder,
		Log:     ctrl.Log.WithName("hub"),
	})
	if err != nil {
		return fmt.Errorf("creating the hub: %w", err)
	}
	for _, collector := range []prometheus.Collector{m.hub.Collector(), census.Collector()} {
		if err := metrics.Registry.Register(collector); err != nil {
			return fmt.Errorf("registering the metrics of tunnels: %w", err)
		}
	}
	if err := m.mgr.AddMetricsServerExtraHandler(tunnelsPath, m.hub.DebugHandler()); err != nil {
		return fmt.Errorf("adding the page of the live tunnels: %w", err)
	}
	m.fleet = fleet.New(fleet.Options{Tunnels: m.hub, Scheme: m.mgr.GetScheme()})
	m.beats = heartbeat.NewStore()
	return nil
}

func (m *master) setupControllers(context.Context) error {
	recorder := m.mgr.GetEventRecorder(component)
	for _, controller := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&cluster.Reconciler{
			Client: m.mgr.GetClient(), Fleet: m.fleet, Beats: m.beats, Events: recorder,
			Release: m.binder.Release, ProbeNamespace: m.options.ProbeNamespace, Concurrency: m.options.Concurrency,
		},
		&probe.Reconciler{Client: m.mgr.GetClient(), ProbeNamespace: m.options.ProbeNamespace},
		&proberun.Reconciler{
			Client: m.mgr.GetClient(), Fleet: m.fleet, Beats: m.beats,
			ProbeNamespace: m.options.ProbeNamespace, Concurrency: m.options.Concurrency,
		},
	} {
		if err := controller.SetupWithManager(m.mgr); err != nil {
			return err
		}
	}
	return webhook.Setup(m.mgr, m.mgr.GetClient(), m.options.ProbeNamespace)
}

func (m *master) setupGateway(context.Context) error {
	// Whoever calls makes the master ask: the questions have a bound of their own, so that they cannot crowd out the rest.
	config := rest.CopyConfig(m.mgr.GetConfig())
	config.QPS, config.Burst = reviewQPS, reviewBurst
	clientset, err := kubernetes.NewForConfigAndClient(config, m.mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("creating the gateway's client: %w", err)
	}
	if m.auth, err = gateway.NewAuth(clientset, ctrl.Log.WithName("gateway")); err != nil {
		return err
	}
	if err := m.mgr.Add(m.auth); err != nil {
		return fmt.Errorf("adding the gateway's authentication: %w", err)
	}
	reader := m.mgr.GetClient()
	m.gateway, err = gateway.New(gateway.Options{
		Transport: m.hub.RoundTripper,
		Leads:     m.leads,
		Auth:      m.auth,
		Exists: func(ctx context.Context, name string) (bool, error) {
			err := reader.Get(ctx, types.NamespacedName{Name: name}, &kubeproberv1.Cluster{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		},
	})
	return err
}

// leads tells whether this replica has the tunnels.
func (m *master) leads() bool {
	select {
	case <-m.mgr.Elected():
		return true
	default:
		return false
	}
}

// setupServers adds the servers that are not the manager's own, and the checks of all.
func (m *master) setupServers() error {
	drain := &deadline{within: m.options.DrainTimeout}
	// Tunnels have to end where the controllers run.
	hubServer := &server{
		name: "hub", address: m.options.HubAddress, handler: m.hubHandler(), http1: true, leaderOnly: true,
		connState: m.hub.ConnState, lasts: gateway.Lasts,
		drain: drain, onDrain: m.drainHub, onShutdown: m.hub.Shutdown,
	}
	if m.options.HubCertFile != "" {
		watcher, err := certwatcher.New(m.options.HubCertFile, m.options.HubKeyFile)
		if err != nil {
			return fmt.Errorf("loading the hub's certificate: %w", err)
		}
		if err := m.mgr.Add(watcher); err != nil {
			return fmt.Errorf("watching the hub's certificate: %w", err)
		}
		hubServer.tls = func() (*tls.Config, error) {
			return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate}, nil
		}
	}
	// All replicas serve what the API server asks of an aggregated API: without an answer it can neither tell which kinds
	// there are nor finish the deletion of a namespace.
	gatewayServer := &server{
		name: "aggregated API", address: m.options.GatewayAddress, handler: m.gateway.Aggregated(), tls: m.gatewayTLS,
		lasts: gateway.Lasts, drain: drain,
	}
	for _, s := range []*server{hubServer, gatewayServer} {
		if err := m.mgr.Add(s); err != nil {
			return fmt.Errorf("adding the %s: %w", s.name, err)
		}
	}
	for name, check := range map[string]healthz.Checker{
		"hub": hubServer.Ready, "gateway": gatewayServer.Ready, "certificate": m.certs.Ready,
		"webhook": m.mgr.GetWebhookServer().StartedChecker(),
	} {
		if err := m.mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("adding the readiness check %s: %w", name, err)
		}
	}
	if err := m.mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	return nil
}

// drainHub lets the requests of the tunnels end and the agents come back one after the other.
func (m *master) drainHub(ctx context.Context) error {
	tunnels := len(m.hub.Clusters())
	ctrl.Log.WithName("hub").Info("Draining", "tunnels", tunnels, "spread", spread(tunnels).String())
	return m.hub.Drain(ctx, spread(tunnels))
}

// gatewayTLS asks callers for a certificate and lets the authenticator judge it.
func (m *master) gatewayTLS() (*tls.Config, error) {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: m.certs.GetCertificate,
	}, nil
}

// hubHandler serves all that agents and users send to the master's own address. The gateway is asked before the mux,
// which would answer an ambiguous path with a redirect.
func (m *master) hubHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(connectPath, m.hub)
	mux.Handle(apiheartbeat.Path, heartbeat.NewHandler(m.hub.Authenticate, m.binder, m.beats))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.NotFound(w, r)
	})
	direct := m.gateway.Direct()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, gateway.DirectPrefix) {
			direct.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
