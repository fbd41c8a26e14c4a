// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command checker looks for the API server by name and by address, and reports with the SDK for checkers. It knows of Kubeprober
// what docs/checkers.md tells.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"

	"github.com/kubeprober/kubeprober/probers/checker"
)

const (
	apiServer = "kubernetes.default"
	caFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

func main() {
	checker.Main(
		checker.New("go-dns", resolve),
		checker.New("go-api", connect),
		checker.New("go-unsure", func(context.Context) (string, error) { return "", errors.New("nobody can know") }),
	)
}

func resolve(ctx context.Context) (string, error) {
	addresses, err := net.DefaultResolver.LookupHost(ctx, apiServer)
	if err != nil {
		return "", checker.Broken("%s does not resolve: %w", apiServer, err)
	}
	return apiServer + " is " + addresses[0], nil
}

func connect(ctx context.Context) (string, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return "", errors.New(caFile + " holds no certificate")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(apiServer, "443"))
	if err != nil {
		return "", checker.Broken("the API server takes no connection: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return "the API server proves who it is", nil
}
