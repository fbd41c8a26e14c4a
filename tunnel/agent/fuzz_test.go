// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzRefusal(f *testing.F) {
	f.Add(503, "7", []byte("busy\n"))
	f.Add(429, "Sun, 22 Nov 2026 12:00:00 GMT", []byte{})
	f.Add(403, "-1", []byte{0xff, 0xfe})
	f.Add(200, "99999999999999999999", []byte("x"))
	f.Fuzz(func(t *testing.T, code int, retryAfter string, body []byte) {
		refused := refusal(&http.Response{
			StatusCode: code,
			Header:     http.Header{"Retry-After": {retryAfter}},
			Body:       io.NopCloser(bytes.NewReader(body)),
		})
		if refused.retryAfter < 0 || refused.retryAfter > longestAsked {
			t.Errorf("a wait of %s", refused.retryAfter)
		}
		if text := refused.Error(); len(text) > maxReason+100 || !utf8.ValidString(text) {
			t.Errorf("an error of %d bytes: %q", len(text), text)
		}
	})
}

// wire is a connection on which something has come in, and whose output nobody wants.
type wire struct {
	net.Conn
	in io.Reader
}

func (w wire) Read(p []byte) (int, error)  { return w.in.Read(p) }
func (w wire) Write(p []byte) (int, error) { return len(p), nil }
func (w wire) Close() error                { return nil }

func FuzzProxyAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\nmore"))
	f.Add([]byte("HTTP/1.1 407 no\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("SSH-2.0"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		via := &url.URL{Scheme: "http", Host: "proxy", User: url.UserPassword("user", "word")}
		err := askProxy(wire{in: bytes.NewReader(answer)}, via, "hub.example:443")
		if err == nil && !bytes.Contains(answer, []byte(" 2")) {
			t.Errorf("%q was taken", answer)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Add("7")
	f.Add("Sun, 22 Nov 2026 12:00:30 GMT")
	f.Add("Sunday, 22-Nov-26 11:00:30 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if wait := readRetryAfter(text, now); wait < 0 || wait > longestAsked {
			t.Errorf("a wait of %s", wait)
		}
	})
}

func FuzzStripIdentity(f *testing.F) {
	f.Add("Authorization", "Bearer x", "base64url.bearer.authorization.k8s.io.eA, v4.channel.k8s.io")
	f.Add("impersonate-User", "system:admin", "v5.channel.k8s.io,,")
	f.Add("X-Remote-Extra-Scopes", "x", " Base64url.Bearer.Authorization.k8s.io.eA")
	f.Fuzz(func(t *testing.T, name, value, protocols string) {
		h := http.Header{"Sec-Websocket-Protocol": {protocols, protocols}, "Accept": {"*/*"}}
		h[name] = append(h[name], value)
		stripIdentity(h)
		for left, values := range h {
			lower := strings.ToLower(left)
			for _, start := range []string{"impersonate-", "x-remote-"} {
				if strings.HasPrefix(lower, start) {
					t.Errorf("header %q is left", left)
				}
			}
			switch lower {
			case "authorization", "proxy-authorization", "cookie":
				t.Errorf("header %q is left", left)
			case "sec-websocket-protocol":
				if strings.Contains(strings.ToLower(strings.Join(values, ",")), ","+tokenProtocol) || strings.HasPrefix(strings.ToLower(values[0]), tokenProtocol) {
					t.Errorf("a token is left: %q", values)
				}
			}
		}
		if name != "Accept" && strings.Join(h["Accept"], "") != "*/*" {
			t.Error("a header that says nothing of identity is gone")
		}
	})
}
