// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"io"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
)

// The OpenAPI documents describe nothing: what is behind clusters/proxy is described by the managed clusters. They are
// there because the API server asks for them and logs an error when they are not.
const (
	openAPIV2 = `{"swagger":"2.0","info":{"title":"Kubeprober gateway","version":"v1"},"paths":{}}`
	openAPIV3 = `{"paths":{}}`
)

// discovery serves what the API server and clients ask to learn which API this is.
func (g *Gateway) discovery() http.Handler {
	version := metav1.GroupVersionForDiscovery{GroupVersion: GroupVersion.String(), Version: GroupVersion.Version}
	group := metav1.APIGroup{
		Name: GroupVersion.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	verbs := metav1.Verbs{"create", "delete", "get", "patch", "update"}
	resources := []metav1.APIResource{{Name: resource + "/" + subresource, Kind: "Cluster", Verbs: verbs}}

	root := discovery.NewRootAPIsHandler(discovery.DefaultAddresses{}, g.codecs)
	root.AddGroup(group)
	whole := aggregated.NewResourceManager("apis")
	whole.AddGroupVersion(GroupVersion.Group, apidiscoveryv2.APIVersionDiscovery{
		Version:   GroupVersion.Version,
		Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		Resources: []apidiscoveryv2.APIResourceDiscovery{{
			// An empty kind marks a resource of which only a subresource is served: `kubectl get clusters` goes to the other group.
			Resource: resource, Scope: apidiscoveryv2.ScopeCluster, ResponseKind: &metav1.GroupVersionKind{},
			Subresources: []apidiscoveryv2.APISubresourceDiscovery{{
				Subresource:  subresource,
				ResponseKind: &metav1.GroupVersionKind{Group: GroupVersion.Group, Version: GroupVersion.Version, Kind: "Cluster"},
				Verbs:        verbs,
			}},
		}},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /apis", aggregated.WrapAggregatedDiscoveryToHandler(root, whole, nil))
	mux.Handle("GET /apis/"+GroupVersion.Group, discovery.NewAPIGroupHandler(g.codecs, group))
	mux.Handle("GET /apis/"+GroupVersion.String(), discovery.NewAPIVersionHandler(g.codecs, GroupVersion,
		discovery.APIResourceListerFunc(func() []metav1.APIResource { return resources })))
	mux.HandleFunc("GET /openapi/v2", serveJSON(openAPIV2))
	mux.HandleFunc("GET /openapi/v3", serveJSON(openAPIV3))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.fail(w, r, notServed(r.URL.Path)) })
	return mux
}

func serveJSON(document string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, document)
	}
}
