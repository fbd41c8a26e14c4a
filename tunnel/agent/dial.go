// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

// dialHub connects to the hub at address, through the proxy that the environment names
// for it, and over TLS when the hub's address says so.
func (a *route) dialHub(ctx context.Context, address string) (net.Conn, error) {
	hub, err := url.Parse(a.url)
	if err != nil {
		return nil, err
	}
	roots := a.opts.RootCAs
	if a.opts.ReadRootCAs != nil {
		if roots, err = a.opts.ReadRootCAs(); err != nil {
			return nil, err
		}
	}
	secure := hub.Scheme == "wss"
	via, err := a.proxyFor(hub)
	if err != nil {
		return nil, fmt.Errorf("finding the proxy: %w", err)
	}
	var conn net.Conn
	if via == nil {
		conn, err = a.dialTCP(ctx, address)
	} else if conn, err = a.dialProxy(ctx, via, address); err != nil {
		err = fmt.Errorf("connecting through the proxy %s: %w", proxyName(via), err)
	}
	if err != nil || !secure {
		return conn, err
	}
	return handshake(ctx, conn, a.tlsConfig(hub.Hostname(), roots))
}

// tlsConfig verifies the hub by its authority, its pinned key, or both.
func (a *route) tlsConfig(name string, roots *x509.CertPool) *tls.Config {
	config := &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if len(a.pins) > 0 {
		// A pinned key says more than a chain of signatures.
		config.InsecureSkipVerify = roots == nil
		config.VerifyConnection = a.checkPin
	}
	return config
}

// pin is the SHA-256 sum of a public key.
type pin [sha256.Size]byte

const pinPrefix = "sha256//"

func parsePins(texts []string) ([]pin, error) {
	var pins []pin
	for _, text := range texts {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, pinPrefix))
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("reading the pinned key %q: it must be %sBASE64 of a SHA-256 sum", text, pinPrefix)
		}
		pins = append(pins, pin(sum))
	}
	return pins, nil
}

// checkPin refuses a hub whose key is none of the pinned ones.
func (a *route) checkPin(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0] // a TLS server has one
	sum := pin(sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
	if !slices.Contains(a.pins, sum) {
		return fmt.Errorf("the hub's key %s%s is not pinned", pinPrefix, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return nil
}

// dialTCP resolves the name in address and tries all its addresses, of IPv6 and IPv4 side
// by side, until one answers. Nothing is remembered of the last time.
func (a *Agent) dialTCP(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Resolver: a.opts.Resolver}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := socket.Tune(conn, stallTime); err != nil {
		_ = conn.Close() // of no use
		return nil, fmt.Errorf("tuning the connection: %w", err)
	}
	return conn, nil
}

func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // of no use
		return nil, err
	}
	return secured, nil
}
