// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// proxyServer is a proxy that leads to one place, whatever it is asked for.
type proxyServer struct {
	listener net.Listener
	group    sync.WaitGroup
	asked    chan string // what it was asked for, and by whom
}

// newProxy serves one connection after the other by handle, which returns the way that a
// client gets, if any.
func newProxy(t *testing.T, handle func(p *proxyServer, client net.Conn) net.Conn) *proxyServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyServer{listener: listener, asked: make(chan string, 100)}
	p.group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() {
				defer func() { _ = client.Close() }()
				if way := handle(p, client); way != nil {
					join(client, way)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.group.Wait()
	})
	return p
}

// join copies between two connections until one ends.
func join(a, b net.Conn) {
	var group sync.WaitGroup
	group.Go(func() {
		_, _ = io.Copy(a, b)
		_, _ = a.Close(), b.Close()
	})
	_, _ = io.Copy(b, a)
	_, _ = a.Close(), b.Close()
	group.Wait()
}

func (p *proxyServer) address() string { return p.listener.Addr().String() }

func (p *proxyServer) url(scheme string, user *url.Userinfo) *url.URL {
	return &url.URL{Scheme: scheme, Host: p.address(), User: user}
}

const (
	proxyUser, proxyPassword = "agent-user", "pass word%:/@"
)

// connectTo is a proxy that takes CONNECT, from one user if there is one, and leads to way.
func connectTo(way, user string) func(*proxyServer, net.Conn) net.Conn {
	return func(p *proxyServer, client net.Conn) net.Conn {
		req, err := http.ReadRequest(bufio.NewReader(client))
		if err != nil {
			return nil
		}
		p.asked <- req.Method + " " + req.Host
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+proxyPassword))
		if got := req.Header.Get("Proxy-Authorization"); user != "" && got != want || user == "" && got != "" {
			_, _ = io.WriteString(client, "HTTP/1.1 407 Who are you, "+got+"\r\nProxy-Authenticate: Basic\r\nContent-Length: 1000000\r\n\r\n"+got)
			_, _ = io.Copy(io.Discard, client) // it is the agent that must give up
			return nil
		}
		conn, err := net.Dial("tcp", way)
		if err != nil {
			return nil
		}
		_, _ = io.WriteString(client, "HTTP/1.0 200 Connection established\r\n\r\n")
		return conn
	}
}

// socksTo is a SOCKS5 proxy like connectTo.
func socksTo(way, user string) func(*proxyServer, net.Conn) net.Conn {
	return func(p *proxyServer, client net.Conn) net.Conn {
		read := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(client, b)
			return b
		}
		method := byte(0)
		if user != "" {
			method = 2
		}
		methods := read(int(read(2)[1]))
		if !strings.Contains(string(methods), string(method)) {
			_, _ = client.Write([]byte{5, 0xff})
			return nil
		}
		_, _ = client.Write([]byte{5, method})
		if user != "" {
			name := string(read(int(read(2)[1])))
			password := string(read(int(read(1)[0])))
			if name != user || password != proxyPassword {
				_, _ = client.Write([]byte{1, 1})
				return nil
			}
			_, _ = client.Write([]byte{1, 0})
		}
		head := read(5) // version, command, 0, kind of address, length of a name
		host := string(read(int(head[4])))
		read(2)
		p.asked <- "CONNECT " + host
		conn, err := net.Dial("tcp", way)
		if err != nil {
			_, _ = client.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return nil
		}
		_, _ = client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		return conn
	}
}

// setProxies sets the environment of this test.
func setProxies(t *testing.T, values map[string]string) {
	t.Helper()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"} {
		t.Setenv(name, values[name])
		t.Setenv(strings.ToLower(name), "")
	}
}

func TestTheProxyOfTheEnvironmentLeadsToTheHub(t *testing.T) {
	s := newSite(t, "127.0.0.1:0", hub.Limits{})
	way := s.server.Listener.Addr().String()
	dns := newNames(t, "127.0.0.1")
	credentials := url.UserPassword(proxyUser, proxyPassword)
	cases := []struct {
		name   string
		handle func(*proxyServer, net.Conn) net.Conn
		scheme string
		user   *url.Userinfo
		host   string
		asked  string
		direct bool
	}{
		{name: "an HTTP proxy", handle: connectTo(way, ""), scheme: "http", asked: "CONNECT example.com:" + s.port()},
		{name: "an HTTP proxy with a password", handle: connectTo(way, proxyUser), scheme: "http", user: credentials, asked: "CONNECT example.com:" + s.port()},
		{name: "an HTTP proxy without a scheme", handle: connectTo(way, ""), asked: "CONNECT example.com:" + s.port()},
		{name: "a SOCKS proxy", handle: socksTo(way, ""), scheme: "socks5", asked: "CONNECT example.com"},
		{name: "a SOCKS proxy with a password", handle: socksTo(way, proxyUser), scheme: "socks5h", user: credentials, asked: "CONNECT example.com"},
		{name: "not for a name of NO_PROXY", handle: connectTo(way, ""), scheme: "http", direct: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			proxy := newProxy(t, tc.handle)
			env := map[string]string{"HTTPS_PROXY": proxy.address()}
			if tc.scheme != "" {
				env["HTTPS_PROXY"] = proxy.url(tc.scheme, tc.user).String()
			}
			if tc.direct {
				env["NO_PROXY"] = "localhost,.internal,example.com"
			}
			setProxies(t, env)
			opts := optionsFor("https://example.com:" + s.port())
			opts.Resolver = dns.resolver() // a proxy looks names up itself
			before := dns.count()
			log, stop := start(t, opts)
			s.await(t, true)
			stop()
			s.await(t, false)
			if tc.direct {
				if len(proxy.asked) > 0 || dns.count() == before {
					t.Errorf("the proxy was asked %d times", len(proxy.asked))
				}
				return
			}
			if got := <-proxy.asked; got != tc.asked || dns.count() != before {
				t.Errorf("the proxy was asked for %q, DNS %d times", got, dns.count()-before)
			}
			keepsSecrets(t, log.text())
		})
	}
}

func TestHTTPProxyIsForHubsWithoutTLS(t *testing.T) {
	s := newSite(t, "127.0.0.1:0", hub.Limits{})
	plain := &http.Server{Handler: s.Hub, ReadHeaderTimeout: patience}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- plain.Serve(listener) }()
	t.Cleanup(func() {
		_ = plain.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	proxy := newProxy(t, connectTo(listener.Addr().String(), ""))
	setProxies(t, map[string]string{"HTTP_PROXY": proxy.address(), "HTTPS_PROXY": "http://127.0.0.1:1"})
	start(t, optionsFor("http://hub.example"))
	s.await(t, true)
	if got := <-proxy.asked; got != "CONNECT hub.example:80" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

// keepsSecrets fails when text holds the proxy's credentials in any form.
func keepsSecrets(t *testing.T, text string) {
	t.Helper()
	pair := base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + proxyPassword))
	for _, secret := range []string{proxyPassword, url.UserPassword(proxyUser, proxyPassword).String(), url.QueryEscape(proxyPassword), pair, proxyUser, testSecret} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in\n%s", secret, text)
		}
	}
}

func TestAProxyThatDoesNotHelpIsNamed(t *testing.T) {
	say := func(answer string) func(*proxyServer, net.Conn) net.Conn {
		return func(_ *proxyServer, client net.Conn) net.Conn {
			if _, err := http.ReadRequest(bufio.NewReader(client)); err == nil {
				_, _ = io.WriteString(client, answer)
			}
			return nil
		}
	}
	wrong := url.UserPassword(proxyUser+"2", proxyPassword)
	right := url.UserPassword(proxyUser, proxyPassword)
	cases := []struct {
		name   string
		scheme string
		user   *url.Userinfo
		handle func(*proxyServer, net.Conn) net.Conn
		says   string
	}{
		{"a wrong password", "http", wrong, connectTo("", proxyUser), "it refused to connect to the hub at hub.example:443: 407 Proxy Authentication Required"},
		{"a refusal", "http", right, say("HTTP/1.1 403 no " + proxyPassword + "\r\nContent-Length: 0\r\n\r\n"), "it refused to connect to the hub at hub.example:443: 403 Forbidden"},
		{"a redirect", "http", right, say("HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n"), "302 Found"},
		{"no answer of HTTP", "http", right, say("SSH-2.0-" + proxyPassword + "\r\n"), "the answer is not one of an HTTP proxy, or was cut off"},
		{"no answer", "http", right, say(""), "the answer is not one of an HTTP proxy, or was cut off"},
		{"an endless answer", "http", right, say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxConnectAnswer)), "or was cut off"},
		{"data before it is due", "http", right, say("HTTP/1.1 200 OK\r\n\r\nsurprise"), "it sent data before it was asked for any"},
		{"a SOCKS proxy's wrong password", "socks5", wrong, socksTo("", proxyUser), "username/password authentication failed"},
		{"a SOCKS proxy that wants a password", "socks5", nil, socksTo("", proxyUser), "no acceptable authentication methods"},
		{"a SOCKS proxy that cannot reach the hub", "socks5", right, socksTo("127.0.0.1:1", proxyUser), "connection refused"},
		{"a proxy that is none", "ftp", right, say(""), "has a scheme other than http, https or socks5"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			proxy := newProxy(t, tc.handle)
			via := proxy.url(tc.scheme, tc.user)
			opts := optionsFor("https://hub.example")
			opts.Proxy = func(*url.URL) (*url.URL, error) { return via, nil }
			log, _ := start(t, opts)
			all := log.await(t, tc.says)
			if want := "through the proxy " + tc.scheme + "://" + proxy.address() + ": "; !strings.Contains(all, want) {
				t.Errorf("the log does not say %q:\n%s", want, all)
			}
			keepsSecrets(t, all)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		via := &url.URL{Scheme: "http", Host: "127.0.0.1:1", User: right}
		opts := optionsFor("https://hub.example")
		opts.Proxy = func(*url.URL) (*url.URL, error) { return via, nil }
		log, _ := start(t, opts)
		keepsSecrets(t, log.await(t, "through the proxy http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"))
	})
}

func TestAProxyThatHangsIsLeftWithTheContext(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		proxy := newProxy(t, func(_ *proxyServer, client net.Conn) net.Conn {
			_, _ = io.Copy(io.Discard, client)
			return nil
		})
		a, err := New(optionsFor("https://hub.example"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := a.dialProxy(ctx, proxy.url(scheme, nil), "hub.example:443")
		cancel()
		if conn != nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %v, %v", scheme, conn, err)
		}
	}
}

func TestProxyVariablesThatCannotBeReadAreRefused(t *testing.T) {
	cases := []struct{ name, variable, value, says string }{
		{"a port that is no number", "HTTPS_PROXY", "http://" + proxyUser + ":pw@proxy:port", "reading HTTPS_PROXY of the environment: it must be the address of a proxy"},
		{"no host", "HTTP_PROXY", "http://:3128", "reading HTTP_PROXY of the environment: it must be"},
		{"a scheme that is none of a proxy's", "HTTPS_PROXY", "ftp://" + proxyUser + ":pw@proxy", "the proxy ftp://proxy has a scheme other than"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			setProxies(t, map[string]string{tc.variable: tc.value})
			for _, try := range []func() error{
				func() error { return CheckOptions(optionsFor("https://hub.example")) },
				func() error { _, err := New(optionsFor("https://hub.example")); return err },
			} {
				err := try()
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("%v, want an error that says %q", err, tc.says)
				}
				keepsSecrets(t, err.Error())
			}
		})
	}
}
