// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// maxConnectAnswer bounds a proxy's answer, in bytes.
const maxConnectAnswer = 16 << 10

// proxyFunc returns the proxy for a URL, nil for none.
type proxyFunc = func(*url.URL) (*url.URL, error)

// environmentProxy returns what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say. A variable that
// cannot be understood is an error: to pass the proxy by would not be what was meant.
func environmentProxy() (proxyFunc, error) {
	config := httpproxy.FromEnvironment()
	for name, value := range map[string]string{"HTTP_PROXY": config.HTTPProxy, "HTTPS_PROXY": config.HTTPSProxy} {
		if value == "" {
			continue
		}
		if !strings.Contains(value, "://") {
			value = "http://" + value
		}
		via, err := url.Parse(value)
		// The value itself stays out of the error: there may be a password in it.
		if err != nil || via.Hostname() == "" {
			return nil, fmt.Errorf("reading %s of the environment: it must be the address of a proxy, such as http://proxy.example:3128", name)
		}
		if err := checkScheme(via); err != nil {
			return nil, fmt.Errorf("reading %s of the environment: %w", name, err)
		}
	}
	return config.ProxyFunc(), nil
}

func checkScheme(via *url.URL) error {
	switch via.Scheme {
	case "http", "https", "socks5", "socks5h":
		return nil
	default:
		return fmt.Errorf("the proxy %s has a scheme other than http, https or socks5", proxyName(via))
	}
}

// proxyName is how a proxy is called in errors: without its credentials.
func proxyName(via *url.URL) string { return via.Scheme + "://" + via.Host }

// proxyFor returns the proxy for the hub, nil when there is none.
func (a *route) proxyFor(hub *url.URL) (*url.URL, error) {
	asked := *hub
	asked.Scheme = "http"
	if hub.Scheme == "wss" {
		asked.Scheme = "https"
	}
	return a.opts.Proxy(&asked)
}

// dialProxy connects to address through the proxy via, which looks the address up itself.
func (a *Agent) dialProxy(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	if err := checkScheme(via); err != nil {
		return nil, err
	}
	if strings.HasPrefix(via.Scheme, "socks5") {
		return a.dialSOCKS(ctx, via, address)
	}
	conn, err := a.dialTCP(ctx, proxyAddress(via))
	if err == nil && via.Scheme == "https" {
		conn, err = handshake(ctx, conn, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
	}
	if err != nil {
		return nil, err
	}
	giveUp := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = askProxy(conn, via, address)
	if !giveUp() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // of no use
		return nil, err
	}
	return conn, nil
}

func proxyAddress(via *url.URL) string {
	usual := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	return net.JoinHostPort(via.Hostname(), cmp.Or(via.Port(), usual[via.Scheme]))
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
		return fmt.Errorf("asking for the hub: %w", err)
	}
	reader := bufio.NewReader(io.LimitReader(conn, maxConnectAnswer))
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return errors.New("the answer is not one of an HTTP proxy, or was cut off") // what came stays out of the error
	}
	if resp.StatusCode/100 != 2 {
		_ = conn.Close() // a body, if there is one, is not waited for
		_ = resp.Body.Close()
		return fmt.Errorf("it refused to connect to the hub at %s: %s", address, status(resp.StatusCode))
	}
	_ = resp.Body.Close() // the answer to a CONNECT has none
	// The hub speaks only when it is spoken to, so nothing follows the answer.
	if reader.Buffered() > 0 {
		return errors.New("it sent data before it was asked for any")
	}
	return nil
}

// status names a status of HTTP.
func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

func (a *Agent) dialSOCKS(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", proxyAddress(via), auth, tcpDialer{a})
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
type tcpDialer struct{ agent *Agent }

// Dial implements proxy.Dialer.
func (d tcpDialer) Dial(_, address string) (net.Conn, error) {
	return d.agent.dialTCP(context.Background(), address)
}

// DialContext implements proxy.ContextDialer.
func (d tcpDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d.agent.dialTCP(ctx, address)
}
