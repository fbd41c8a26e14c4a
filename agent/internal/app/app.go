// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	managerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/controller/probe"
	"github.com/kubeprober/kubeprober/agent/internal/controller/proberun"
	"github.com/kubeprober/kubeprober/agent/internal/footprint"
	"github.com/kubeprober/kubeprober/agent/internal/heartbeat"
	"github.com/kubeprober/kubeprober/agent/internal/metrics"
	"github.com/kubeprober/kubeprober/agent/internal/metricsauth"
	"github.com/kubeprober/kubeprober/agent/internal/receiver"
	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/runner"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const leaderElectionID = "probe-agent." + kubeproberv1.GroupName

// Scheme holds the kinds that the agent reads and writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), kubeproberv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("making the scheme: %w", err)
	}
	return scheme, nil
}

// agent is the parts that the phases of Run share.
type agent struct {
	options *Options
	version string
	config  *rest.Config
	log     logr.Logger
	mgr     manager.Manager
	// clusterUID is the UID of the kube-system namespace.
	clusterUID string
	authority  *capability.Authority
	receiver   *receiver.Receiver
	metrics    *metrics.Metrics
	clock      clock.PassiveClock
}

// shutdownTimeout is how long what is under way may take when the agent is told to stop; less than the kubelet waits.
const shutdownTimeout = 20 * time.Second

// Run runs the agent against an API server until the context ends.
func Run(ctx context.Context, options *Options, config *rest.Config, version string, log logr.Logger) error {
	for _, warning := range options.Warnings {
		log.Info("Configuration has something that the agent does not know", "warning", warning)
	}
	a := &agent{options: options, version: version, config: config, log: log, clock: options.Clock}
	if a.clock == nil {
		a.clock = clock.RealClock{}
	}
	for _, phase := range []func(context.Context) error{a.makeManager, a.learn, a.addMetrics, a.addRunner, a.addHeartbeat, a.addHealth} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	log.Info("Starting probe-agent", "version", version, "namespace", options.Namespace, "standalone", options.MasterAddr == "")
	if err := a.mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the agent: %w", err)
	}
	return nil
}

func (a *agent) makeManager(context.Context) error {
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	a.mgr, err = ctrl.NewManager(a.config, ctrl.Options{
		Scheme: scheme,
		Logger: a.log,
		Cache:  cacheOptions(a.options.Namespace, a.options.jobNamespaces()),
		Metrics: metricsserver.Options{
			BindAddress: a.options.MetricsAddr, SecureServing: true, FilterProvider: metricsauth.NewFilter,
		},
		HealthProbeBindAddress:        a.options.HealthAddr,
		LeaderElection:                a.options.LeaderElect,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       a.options.Namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       ptr.To(shutdownTimeout),
		// One process may hold several agents, one after the other, as the tests do.
		Controller: managerconfig.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	return a.mgr.Add(&footprint.Trimmer{Log: a.log.WithName("footprint")})
}

// learn reads what the agent must know before it starts: which cluster this is, and the key of report URLs.
func (a *agent) learn(ctx context.Context) error {
	// Not the client of the manager: its cache has not started, and holds neither of these kinds.
	direct, err := client.New(a.config, client.Options{Scheme: a.mgr.GetScheme(), HTTPClient: a.mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	system := &corev1.Namespace{}
	if err := direct.Get(ctx, client.ObjectKey{Name: "kube-system"}, system); err != nil {
		return fmt.Errorf("reading the identity of the cluster from namespace kube-system: %w", err)
	}
	a.clusterUID = string(system.UID)
	if err := checkNamespaces(ctx, direct, a.options.jobNamespaces()); err != nil {
		return err
	}
	key, err := capability.LoadKey(ctx, direct, a.options.Namespace)
	if err != nil {
		return err
	}
	a.authority, err = capability.NewAuthority(key)
	return err
}

// addRunner adds what runs probes and takes their reports.
func (a *agent) addRunner(ctx context.Context) error {
	clientset, err := kubernetes.NewForConfigAndClient(a.config, a.mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making a client for logs: %w", err)
	}
	reportURL, err := a.reportURL()
	if err != nil {
		return err
	}
	if err := runner.SetupIndexes(ctx, a.mgr.GetFieldIndexer()); err != nil {
		return err
	}
	judge, err := run.NewJudge()
	if err != nil {
		return err
	}
	runs := &runner.Runner{
		Client: a.mgr.GetClient(), Live: a.mgr.GetAPIReader(), Logs: runner.PodLogs(clientset), Authority: a.authority,
		ReportURL: reportURL, Attempts: runner.NewAttempts(a.mgr.GetClient()), Grace: a.options.Grace, Clock: a.clock,
		Elevation: runner.Elevation{Probes: a.options.ElevatedProbes, Namespace: a.options.elevated(), Judge: judge},
	}
	store := record.NewStore(a.mgr.GetClient(), a.mgr.GetAPIReader())
	probes := &probe.Reconciler{
		Client: a.mgr.GetClient(), Live: a.mgr.GetAPIReader(), Runner: runs, Store: store,
		Recorder: a.mgr.GetEventRecorder("probe-agent"), Metrics: a.metrics,
		Clock: a.clock, NewQueue: a.options.NewQueue, ClusterUID: a.clusterUID,
	}
	probeRuns := &proberun.Reconciler{Client: a.mgr.GetClient(), Runner: runs, Store: store, Clock: a.clock, NewQueue: a.options.NewQueue}
	a.receiver = receiver.New(a.options.ReportAddr, a.authority, store, runs.Attempts, a.clock, a.log.WithName("receiver"))
	a.receiver.Instrument = a.metrics.CountReports
	return errors.Join(probes.SetupWithManager(a.mgr), probeRuns.SetupWithManager(a.mgr), a.addOrphans(runs), a.mgr.Add(runs.Attempts), a.mgr.Add(a.receiver))
}

// addHeartbeat adds what tells the master, when there is one.
func (a *agent) addHeartbeat(ctx context.Context) error {
	if a.options.MasterAddr == "" {
		return nil
	}
	master, err := parseURL("probe_master_addr", a.options.MasterAddr)
	if err != nil {
		return err
	}
	config := heartbeat.Config{
		MasterURL: master, ClusterName: a.options.ClusterName, Secret: a.options.SecretKey, ClusterUID: a.clusterUID,
	}
	if a.options.MasterCAFile != "" {
		if config.MasterCA, err = readCA(a.options.MasterCAFile); err != nil {
			return err
		}
	}
	clientset, err := kubernetes.NewForConfigAndClient(a.config, a.mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making a client for the version: %w", err)
	}
	changed, err := heartbeat.Watch(ctx, a.mgr.GetCache())
	if err != nil {
		return err
	}
	log := a.log.WithName("heartbeat")
	reader := &heartbeat.Reader{
		Client: a.mgr.GetClient(), API: clientset.Discovery().RESTClient(), Namespace: a.options.Namespace,
		AgentVersion: a.version, ExtraStatus: a.options.ExtraStatus, Log: log,
	}
	if err := a.mgr.Add(heartbeat.NewSender(config, reader.State, changed, log)); err != nil {
		return fmt.Errorf("adding the heartbeat: %w", err)
	}
	return nil
}

func readCA(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading --master-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading --master-ca-file %s: it holds no PEM certificate", path)
	}
	return pool, nil
}

// addHealth makes the agent alive while it runs, and ready once its caches are filled and reports can come.
func (a *agent) addHealth(context.Context) error {
	var synced atomic.Bool
	ready := func(request *http.Request) error {
		if !synced.Load() {
			return errors.New("the caches are not filled")
		}
		return a.receiver.Ready(request)
	}
	return errors.Join(
		a.mgr.AddHealthzCheck("ping", healthz.Ping),
		a.mgr.AddReadyzCheck("reports", ready),
		a.mgr.Add(everyReplica(func(ctx context.Context) error {
			// Runnables start when the caches are filled.
			synced.Store(a.mgr.GetCache().WaitForCacheSync(ctx))
			<-ctx.Done()
			return nil
		})),
	)
}

// everyReplica is a runnable that does not wait to be elected.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

func (f everyReplica) NeedLeaderElection() bool { return false }
