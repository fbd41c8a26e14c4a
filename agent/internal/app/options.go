// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package app puts the agent together: it reads the configuration, makes the parts and runs them until it is told to stop. It
// decides nothing about probes.
package app

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubeprober/kubeprober/agent/internal/runner"
)

const (
	defaultConfig     = "/etc/kubeprober/probe-conf.yaml"
	defaultSecretFile = "/etc/kubeprober/secret/secret_key"
	defaultNamespace  = "kubeprober"
	defaultElevated   = "kubeprober-elevated"
	serviceName       = "probeagent"
	reportPort        = 8082
)

// Options is the configuration of the agent: flags, else the environment, else the file, else defaults.
type Options struct {
	// MasterAddr is where heartbeats go; empty when the agent stands alone.
	MasterAddr    string
	MasterCAFile  string
	ClusterName   string
	SecretKey     string
	SecretKeyFile string
	// ConfigFile is the file in the form of the ConfigMap probeagent.
	ConfigFile string
	// Namespace that holds the Probes, the Jobs and the agent.
	Namespace string
	// ReportURL is where checkers find the receiver; empty for the Service probeagent.
	ReportURL     string
	ClusterDomain string
	// Addresses to listen on.
	ReportAddr, MetricsAddr, HealthAddr string
	// LeaderElect lets one of several replicas schedule and send heartbeats.
	LeaderElect bool
	// LogLevel is error, info, debug or a number from 0 to 10; Development makes logs readable for people.
	LogLevel    string
	Development bool
	// ExtraStatus is shown beside the cluster on the master.
	ExtraStatus map[string]string
	// ElevatedProbes says what becomes of probes that need more than Pod Security restricted; empty for ElevateInNamespace.
	ElevatedProbes runner.ElevatedProbes
	// ElevatedNamespace is where they run; empty for kubeprober-elevated.
	ElevatedNamespace string
	// Grace is how long a pod may stay in a state that seldom heals.
	Grace time.Duration
	// Warnings are to be logged once there is a log.
	Warnings []string
	// Clock tells what time it is; nil for the real one. With another, NewQueue makes the queues of the controllers, whose delays
	// must follow it.
	Clock    clock.PassiveClock
	NewQueue func(controller string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// ParseOptions reads the command line, the environment and the file.
func ParseOptions(args []string, getenv func(string) string) (*Options, error) {
	o := &Options{}
	set := flag.NewFlagSet("probe-agent", flag.ContinueOnError)
	var masterAddr, clusterName string
	set.StringVar(&o.ConfigFile, "config", defaultConfig, "File with the keys probe_master_addr, cluster_name, secret_key, agent_debug, debug_level and extra_status.")
	set.StringVar(&masterAddr, "probe-master-addr", "", "URL of the master's hub. Without it the agent stands alone. Also PROBE_MASTER_ADDR, or probe_master_addr in the file.")
	set.StringVar(&o.MasterCAFile, "master-ca-file", "", "PEM file with the certificates that vouch for an https master. By default the system's.")
	set.StringVar(&clusterName, "cluster-name", "", "Name of this cluster on the master. Also CLUSTER_NAME, or cluster_name in the file.")
	set.StringVar(&o.SecretKeyFile, "secret-key-file", "", "File with the secret shared with the master. Also SECRET_KEY, the file "+defaultSecretFile+", or secret_key in the config file.")
	set.StringVar(&o.Namespace, "probe-namespace", "", "Namespace of the Probes and of the agent. By default POD_NAMESPACE, else "+defaultNamespace+".")
	set.StringVar(&o.ReportURL, "report-url", "", "Scheme, host and port at which checkers reach the report receiver. By default the cluster IP of the Service "+serviceName+".")
	set.StringVar(&o.ClusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster's Services, for a Service "+serviceName+" without a cluster IP.")
	set.StringVar(&o.ReportAddr, "report-bind-address", fmt.Sprintf(":%d", reportPort), "Address on which reports are received.")
	set.StringVar(&o.MetricsAddr, "metrics-bind-address", ":8443", "Address of the metrics endpoint, which asks the API server who may read it; 0 turns it off.")
	set.StringVar(&o.HealthAddr, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	set.StringVar((*string)(&o.ElevatedProbes), "elevated-probes", string(runner.ElevateInNamespace), "What becomes of probes whose pods need more than Pod Security restricted: "+string(runner.ElevateInNamespace)+" runs them in the namespace of --elevated-namespace, "+string(runner.ElevateRefuse)+" runs none of them.")
	set.StringVar(&o.ElevatedNamespace, "elevated-namespace", defaultElevated, "Namespace in which probes run that need more than Pod Security restricted.")
	set.DurationVar(&o.Grace, "stuck-grace-period", runner.DefaultGrace, "How long a pod may stay in a state that seldom heals, such as ImagePullBackOff, before its run is given up.")
	set.BoolVar(&o.LeaderElect, "leader-elect", true, "Let one of several replicas schedule probes and send heartbeats.")
	set.StringVar(&o.LogLevel, "log-level", "", "error, info, debug, or a number from 0 to 10. By default debug_level of the file, else info.")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("reading the command line: unexpected argument %q", set.Arg(0))
	}
	configGiven := false
	set.Visit(func(f *flag.Flag) { configGiven = configGiven || f.Name == "config" })
	file, err := readFile(o.ConfigFile)
	if errors.Is(err, fs.ErrNotExist) && !configGiven {
		file, err = &fileConfig{}, nil
	}
	if err != nil {
		return nil, err
	}
	o.apply(file, masterAddr, clusterName, getenv)
	if err := o.readSecret(getenv); err != nil {
		return nil, err
	}
	return o, o.check(file)
}

// apply takes each value from the first of flags, environment, file that has it.
func (o *Options) apply(file *fileConfig, masterAddr, clusterName string, getenv func(string) string) {
	o.MasterAddr = first(masterAddr, getenv("PROBE_MASTER_ADDR"), file.MasterAddr)
	o.ClusterName = first(clusterName, getenv("CLUSTER_NAME"), file.ClusterName)
	o.SecretKey = file.SecretKey
	o.Namespace = first(o.Namespace, getenv("POD_NAMESPACE"), defaultNamespace)
	o.Development = file.AgentDebug
	o.LogLevel = first(o.LogLevel, file.DebugLevel)
	if o.LogLevel == "" {
		o.LogLevel = "info"
		if o.Development {
			o.LogLevel = "debug"
		}
	}
	o.ExtraStatus, o.Warnings = file.ExtraStatus, file.warnings
}

// readSecret takes the secret from the first of flag, environment and mounted Secret that has it; else that of the file stays.
func (o *Options) readSecret(getenv func(string) string) error {
	path := o.SecretKeyFile
	if path == "" {
		if secret := getenv("SECRET_KEY"); secret != "" {
			o.SecretKey = secret
			return nil
		}
		path = defaultSecretFile
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && o.SecretKeyFile == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the secret: %w", err)
	}
	if o.SecretKey = strings.TrimSpace(string(data)); o.SecretKey == "" {
		return fmt.Errorf("reading the secret: file %s is empty", path)
	}
	return nil
}

// check tells what cannot be meant.
func (o *Options) check(file *fileConfig) error {
	if problems := validation.IsDNS1123Label(o.Namespace); len(problems) > 0 {
		return fmt.Errorf("checking --probe-namespace %q: %s", o.Namespace, strings.Join(problems, "; "))
	}
	if o.ElevatedProbes != runner.ElevateInNamespace && o.ElevatedProbes != runner.ElevateRefuse {
		return fmt.Errorf("checking --elevated-probes %q: it must be %s or %s", o.ElevatedProbes, runner.ElevateInNamespace, runner.ElevateRefuse)
	}
	if problems := validation.IsDNS1123Label(o.ElevatedNamespace); len(problems) > 0 {
		return fmt.Errorf("checking --elevated-namespace %q: %s", o.ElevatedNamespace, strings.Join(problems, "; "))
	}
	if o.Grace <= 0 {
		return fmt.Errorf("checking --stuck-grace-period %s: it must be more than 0", o.Grace)
	}
	if o.ReportURL != "" {
		if _, err := parseURL("--report-url", o.ReportURL); err != nil {
			return err
		}
	}
	if o.MasterAddr == "" {
		return nil
	}
	if _, err := parseURL("probe_master_addr", o.MasterAddr); err != nil {
		return err
	}
	where := "--config " + o.ConfigFile
	if file.path != "" {
		where = "file " + file.path
	}
	switch {
	case o.ClusterName == "":
		return fmt.Errorf("probe_master_addr is set and cluster_name is not: set cluster_name in %s, or CLUSTER_NAME", where)
	case o.SecretKey == "":
		return fmt.Errorf("probe_master_addr is set and secret_key is not: set secret_key in %s, SECRET_KEY or --secret-key-file", where)
	}
	if problems := validation.IsDNS1123Label(o.ClusterName); len(problems) > 0 {
		return fmt.Errorf("checking cluster_name %q of %s: %s", o.ClusterName, where, strings.Join(problems, "; "))
	}
	return nil
}

// jobNamespaces are those in which the agent runs probes.
func (o *Options) jobNamespaces() []string {
	if o.ElevatedProbes == runner.ElevateRefuse || o.elevated() == o.Namespace {
		return []string{o.Namespace}
	}
	return []string{o.Namespace, o.elevated()}
}

func (o *Options) elevated() string { return first(o.ElevatedNamespace, defaultElevated) }

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func parseURL(name, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("checking %s %q: it must be a URL such as http://host:8088", name, text)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("checking %s: it must hold scheme, host and port only", name)
	}
	return u, nil
}
