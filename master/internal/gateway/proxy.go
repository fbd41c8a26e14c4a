// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// bearerProtocol precedes a bearer token among the subprotocols of a websocket.
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// proxy sends an authorized request to the API server of a managed cluster.
func (g *Gateway) proxy(w http.ResponseWriter, r *http.Request, cluster string) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), aggregatedPrefix()+cluster+"/"+subresource)
	if !ok || rest != "" && rest[0] != '/' {
		g.fail(w, r, notServed(r.URL.Path))
		return
	}
	if !g.options.Leads() {
		g.fail(w, r, standsBy(cluster))
		return
	}
	exists, err := g.options.Exists(r.Context(), cluster)
	switch {
	case err != nil:
		g.fail(w, r, apierrors.NewInternalError(fmt.Errorf("reading Cluster %s: %w", cluster, err)))
		return
	case !exists:
		g.fail(w, r, noCluster(cluster))
		return
	}
	if rest == "" {
		rest = "/"
	}
	proxy := &httputil.ReverseProxy{
		Transport: g.options.Transport(cluster),
		// Watches and logs come line by line.
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", cluster, ""
			// Cannot fail: the path was parsed from the same escapes before.
			_ = setPath(p.Out.URL, rest)
			stripCredentials(p.Out.Header)
		},
		ModifyResponse: refuseRedirect,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
				// The caller is gone: there is nobody to answer to.
				return
			}
			g.fail(w, r, transportError(cluster, err))
		},
		ErrorLog: log.New(logWriter{}, "", 0),
	}
	proxy.ServeHTTP(w, r)
}

// logWriter takes what ReverseProxy logs: mostly callers that went away in the middle of an answer.
type logWriter struct{}

func (logWriter) Write(line []byte) (int, error) {
	klog.V(2).InfoS("Proxying a request ended early", "reason", strings.TrimSpace(string(line)))
	return len(line), nil
}

func setPath(u *url.URL, escaped string) error {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return fmt.Errorf("the path cannot be unescaped: %w", err)
	}
	u.Path, u.RawPath = path, escaped
	return nil
}

// stripCredentials removes all that could act as a credential or an identity on the other side: a managed cluster must
// never see a token of the master cluster, and must not be made to act as somebody.
func stripCredentials(header http.Header) {
	for name := range header {
		lower := strings.ToLower(name)
		if lower == "authorization" || lower == "cookie" || lower == "proxy-authorization" ||
			strings.HasPrefix(lower, "impersonate-") || strings.HasPrefix(lower, "x-remote-") {
			delete(header, name)
		}
	}
	const protocols = "Sec-Websocket-Protocol"
	offered := header.Values(protocols)
	if len(offered) == 0 {
		return
	}
	var kept []string
	for protocol := range strings.SplitSeq(strings.Join(offered, ","), ",") {
		if protocol = strings.TrimSpace(protocol); protocol != "" && !strings.HasPrefix(protocol, bearerProtocol) {
			kept = append(kept, protocol)
		}
	}
	header.Del(protocols)
	if len(kept) > 0 {
		header.Set(protocols, strings.Join(kept, ", "))
	}
}

var errRedirect = errors.New("the managed cluster answered with a redirect, which is not followed")

// refuseRedirect keeps a managed cluster from sending callers, and with them their credentials, elsewhere.
func refuseRedirect(response *http.Response) error {
	if response.StatusCode >= 300 && response.StatusCode < 400 && response.Header.Get("Location") != "" {
		return errRedirect
	}
	return nil
}

func isUpgrade(r *http.Request) bool {
	if r.Header.Get("Upgrade") != "" {
		return true
	}
	for _, value := range r.Header.Values("Connection") {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// refuseAmbiguous answers 400 to paths that two servers could read differently, and to what would be silently ignored.
func (g *Gateway) refuseAmbiguous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isAmbiguous(r.URL.EscapedPath()) {
			g.fail(w, r, badRequest("the path must not contain empty, '.' or '..' segments, nor an escaped '/', '\\' or '.'"))
			return
		}
		for name := range r.Header {
			if strings.HasPrefix(strings.ToLower(name), "impersonate-") {
				g.fail(w, r, badRequest("impersonation is done by the master cluster's API server: use the aggregated API"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func isAmbiguous(escaped string) bool {
	lower := strings.ToLower(escaped)
	for _, part := range []string{"//", "%2f", "%5c", "%2e", "%00", "\\"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	for segment := range strings.SplitSeq(escaped, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func statusError(code int32, reason metav1.StatusReason, cluster, message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Group: GroupVersion.Group, Kind: resource, Name: cluster},
	}}
}

func badRequest(message string) error {
	return statusError(http.StatusBadRequest, metav1.StatusReasonBadRequest, "", message)
}

func notServed(path string) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "",
		fmt.Sprintf("the gateway does not serve %q: it serves %s<cluster>/%s/", path, aggregatedPrefix(), subresource))
}

func noCluster(cluster string) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, cluster,
		fmt.Sprintf("Cluster %q not found: \"kubectl get clusters\" lists those that there are", cluster))
}

// standsBy has a Retry-After: most clients then try again by themselves, and meet another replica.
func standsBy(cluster string) error {
	err := statusError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, cluster,
		"this replica of probe-master stands by, tunnels end at the leader: try again")
	err.ErrStatus.Details.RetryAfterSeconds = 1
	return err
}

// transportError tells what kept a request from being answered. It has no Retry-After: clients would then wait in silence.
func transportError(cluster string, err error) error {
	switch {
	case errors.Is(err, hub.ErrNotConnected):
		return statusError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, cluster,
			fmt.Sprintf("cluster %q is not connected: run \"kubectl describe cluster %s\", and look at the log of probe-tunnel in that cluster", cluster, cluster))
	case errors.Is(err, context.DeadlineExceeded):
		return statusError(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, cluster,
			fmt.Sprintf("cluster %q did not answer in time", cluster))
	default:
		return statusError(http.StatusBadGateway, metav1.StatusReasonInternalError, cluster,
			fmt.Sprintf("proxying to cluster %q: %v", cluster, err))
	}
}
