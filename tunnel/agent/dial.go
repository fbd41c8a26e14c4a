// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"github.com/kubeprober/kubeprober/tunnel/internal/socket"
)

// maxConnectAnswer bounds a proxy's answer, in bytes.
const maxConnectAnswer = 16 << 10

// dialHub connects to the hub at address, through the proxy that the environment names
// for it, and over TLS when the hub's address says so. Names are resolved anew each time.
func (a *route) dialHub(ctx context.Context, address string) (net.Conn, error) {
	hub, err := url.Parse(a.url)
	if err != nil {
		return nil, err
	}
	secure := hub.Scheme == "wss"
	via, err := a.proxyFor(hub)
	if err != nil {
		return nil, fmt.Errorf("finding the proxy: %w", err)
	}
	var conn net.Conn
	if via == nil {
		conn, err = dialTCP(ctx, address)
	} else {
		conn, err = a.dialProxy(ctx, via, address)
	}
	if err != nil || !secure {
		return conn, err
	}
	return handshake(ctx, conn, a.tlsConfig(hub.Hostname()))
}

// proxyFor returns the proxy for the hub, nil when there is none.
func (a *route) proxyFor(hub *url.URL) (*url.URL, error) {
	asked := *hub
	asked.Scheme = "http"
	if hub.Scheme == "wss" {
		asked.Scheme = "https"
	}
	return a.opts.Proxy(&asked)
}

// tlsConfig verifies the hub by its authority, its pinned key, or both.
func (a *route) tlsConfig(name string) *tls.Config {
	config := &tls.Config{ServerName: name, RootCAs: a.opts.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if len(a.pins) > 0 {
		// A pinned key says more than a chain of signatures.
		config.InsecureSkipVerify = a.opts.RootCAs == nil
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

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
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

// dialProxy connects to address through the proxy via.
func (a *route) dialProxy(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	switch via.Scheme {
	case "http", "https":
	case "socks5", "socks5h":
		return dialSOCKS(ctx, via, address)
	default:
		return nil, fmt.Errorf("the proxy %s has a scheme other than http, https or socks5", via.Redacted())
	}
	conn, err := dialTCP(ctx, hostPort(via))
	if err == nil && via.Scheme == "https" {
		conn, err = handshake(ctx, conn, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
	}
	if err != nil {
		return nil, fmt.Errorf("dialing the proxy: %w", err)
	}
	giveUp := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = askProxy(conn, via, address)
	if !giveUp() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // of no use
		return nil, fmt.Errorf("asking the proxy for the hub: %w", err)
	}
	return conn, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// askProxy has the proxy at the other end of conn connect it to address.
func askProxy(conn net.Conn, via *url.URL, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if via.User != nil {
		password, _ := via.User.Password()
		pair := via.User.Username() + ":" + password
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// The hub speaks only when it is spoken to, so nothing follows the answer.
	reader := bufio.NewReader(io.LimitReader(conn, maxConnectAnswer))
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // the answer to a CONNECT has none
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answered %s", strings.TrimSpace(resp.Status))
	}
	if reader.Buffered() > 0 {
		return errors.New("the proxy sent data before it was asked for any")
	}
	return nil
}

func dialSOCKS(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", via.Host, auth, tcpDialer{})
	if err != nil {
		return nil, err
	}
	withContext, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the SOCKS dialer knows no context")
	}
	return withContext.DialContext(ctx, "tcp", address)
}

// tcpDialer is how the SOCKS client reaches its proxy.
type tcpDialer struct{}

// Dial implements proxy.Dialer.
func (tcpDialer) Dial(_, address string) (net.Conn, error) {
	return dialTCP(context.Background(), address)
}

// DialContext implements proxy.ContextDialer.
func (tcpDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return dialTCP(ctx, address)
}
