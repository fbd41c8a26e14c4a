// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func TestStripCredentials(t *testing.T) {
	header := http.Header{
		"Authorization":           {"Bearer secret"},
		"Proxy-Authorization":     {"Basic secret"},
		"Cookie":                  {"session=secret"},
		"Impersonate-User":        {"root"},
		"Impersonate-Extra-Scope": {"all"},
		"X-Remote-User":           {"root"},
		"X-Remote-Extra-Scopes":   {"all"},
		"Sec-Websocket-Protocol":  {"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0", "v4.channel.k8s.io"},
		"Accept":                  {"application/json"},
	}
	stripCredentials(header)
	want := http.Header{"Sec-Websocket-Protocol": {"v5.channel.k8s.io, v4.channel.k8s.io"}, "Accept": {"application/json"}}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestIsAmbiguous(t *testing.T) {
	for path, want := range map[string]bool{
		"/clusters/edge/proxy/api/v1/namespaces/default/pods/a:b/exec": false,
		"/clusters/edge/proxy/apis/x/v1/things/a..b":                   false,
		"/clusters/edge/proxy/":                                        false,
		"/clusters/edge/proxy/a%20b":                                   false,
		"/clusters/edge/proxy/../away":                                 true,
		"/clusters/edge/proxy/./x":                                     true,
		"/clusters/edge//proxy":                                        true,
		"/clusters/edge%2Fproxy":                                       true,
		"/clusters/edge/proxy/%2E%2e/x":                                true,
		`/clusters/edge/proxy/a%5cb`:                                   true,
	} {
		if got := isAmbiguous(path); got != want {
			t.Errorf("isAmbiguous(%q) = %t, want %t", path, got, want)
		}
	}
}

func TestVerbsThatAreAuthorized(t *testing.T) {
	r := resolver{factory: request.RequestInfoFactory{APIPrefixes: sets.NewString("apis", "api"), GrouplessAPIPrefixes: sets.NewString("api")}}
	for _, test := range []struct{ name, method, query, upgrade, connection, want string }{
		{name: "reading", method: http.MethodGet, want: "get"},
		{name: "watching is reading", method: http.MethodGet, query: "?watch=true", want: "get"},
		{name: "asking for headers is reading", method: http.MethodHead, want: "get"},
		{name: "posting", method: http.MethodPost, want: "create"},
		{name: "putting", method: http.MethodPut, want: "update"},
		{name: "patching", method: http.MethodPatch, want: "patch"},
		{name: "deleting", method: http.MethodDelete, want: "delete"},
		{name: "upgrading", method: http.MethodGet, upgrade: "websocket", connection: "Upgrade", want: "create"},
		{name: "upgrading among other options", method: http.MethodGet, connection: "keep-alive, upgrade", want: "create"},
		{name: "an upgrade without its connection option", method: http.MethodGet, upgrade: "SPDY/3.1", want: "create"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := httptest.NewRequest(test.method, aggregatedPrefix()+"edge/proxy/api/v1/namespaces/a/pods"+test.query, nil)
			if test.upgrade != "" {
				req.Header.Set("Upgrade", test.upgrade)
			}
			if test.connection != "" {
				req.Header.Set("Connection", test.connection)
			}
			info, err := r.NewRequestInfo(req)
			if err != nil {
				t.Fatal(err)
			}
			if info.Verb != test.want || info.Resource != resource || info.Subresource != subresource || info.Name != "edge" || info.APIGroup != GroupVersion.Group {
				t.Errorf("authorizes %s %s.%s/%s of %q, want %s", info.Verb, info.Resource, info.APIGroup, info.Subresource, info.Name, test.want)
			}
		})
	}
}
