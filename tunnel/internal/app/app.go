// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package app is what the probe-tunnel binary does: it reads its configuration, learns the
// identity of the cluster that it runs in, and keeps a tunnel to the master.
package app

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeprober/kubeprober/tunnel/agent"
)

// Process is what the binary gets from the system that starts it.
type Process struct {
	Args    []string // without the program's name
	Env     func(string) string
	Stdout  io.Writer
	Stderr  io.Writer
	Version string
	// UseLogger is called once with the logger, for libraries that have their own. May be
	// nil.
	UseLogger func(logr.Logger)
}

// Run runs until ctx ends, which is no error. An error of the configuration is returned
// at once; whatever can heal by itself is waited for.
func Run(ctx context.Context, p Process) error {
	f, err := parseFlags(p.Args, p.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.version {
		_, err := fmt.Fprintln(p.Stdout, p.Version)
		return err
	}
	s, err := resolve(f, p.Env)
	if err != nil {
		return err
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(p.Stderr, &slog.HandlerOptions{Level: slog.Level(-s.verbosity)}))
	if p.UseLogger != nil {
		p.UseLogger(log)
	}
	for _, key := range s.unknown {
		log.Info("Ignoring unknown key of the config file", "key", key)
	}
	return serve(ctx, p, f, s, log)
}

func serve(ctx context.Context, p Process, f *flags, s *settings, log logr.Logger) error {
	readRoots := func() (*x509.CertPool, error) { return rootsFrom(f.masterCAFile) }
	if _, err := readRoots(); err != nil {
		return err
	}
	config, err := clusterConfig(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("finding the API server of this cluster: %w", err)
	}
	config.UserAgent = "probe-tunnel/" + p.Version
	target, err := agent.APIServer(config, log)
	if err != nil {
		return err
	}
	opts := agent.Options{
		HubURL:  s.masterAddr,
		Cluster: s.cluster,
		Secret:  func() ([]byte, error) { return secret(f, p.Env) },
		Version: p.Version,
		Target:  target,
		Log:     log,

		ReadRootCAs: readRoots,
		PinnedKeys:  f.masterPins,
	}
	if err := agent.CheckOptions(opts); err != nil {
		return err
	}
	health, err := startHealth(ctx, f.healthAddr, log)
	if err != nil {
		return err
	}
	return errors.Join(connect(ctx, config, opts, health), health.stop())
}

// connect learns the identity of the cluster and then keeps the tunnel up.
func connect(ctx context.Context, config *rest.Config, opts agent.Options, health *health) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("making a client of the API server: %w", err)
	}
	opts.UID, err = waitForUID(ctx, client, config, opts.Log)
	if err != nil || opts.UID == "" {
		return err
	}
	a, err := agent.New(opts)
	if err != nil {
		return err
	}
	health.watch(a.Connected)
	return a.Run(ctx)
}

// clusterConfig takes the service account of the pod unless a kubeconfig is named.
func clusterConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, err
		}
		// HTTPS_PROXY is for the way to the master: a proxy outside the cluster neither
		// reaches its API server nor has anything to see there.
		config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
		return config, nil
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// rootsFrom returns nil, which stands for the system's, when there is no path.
func rootsFrom(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the master's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the master's CA: %s holds no PEM certificate", path)
	}
	return roots, nil
}
