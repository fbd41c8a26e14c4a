// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway proxies Kubernetes API requests of users to managed clusters. It has one handler and two doors: the
// aggregated API of the master cluster, and the master's own address. Both ask the master's API server who the caller is
// and whether the caller may use `clusters/proxy` of that cluster. It knows nothing of what is asked of a managed
// cluster, and holds no credential of one: the far end of the tunnel adds its own.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// GroupVersion is the aggregated API. Its only resource is clusters/proxy.
var GroupVersion = schema.GroupVersion{Group: "proxy.kubeprober.erda.cloud", Version: "v1"}

const (
	// DirectPrefix is where the second door is mounted: DirectPrefix + <cluster> + "/proxy/" + <path>.
	DirectPrefix = "/clusters/"

	resource    = "clusters"
	subresource = "proxy"
)

// aggregatedPrefix is what precedes the name of the cluster in the path of the first door.
func aggregatedPrefix() string {
	return "/apis/" + GroupVersion.Group + "/" + GroupVersion.Version + "/" + resource + "/"
}

// Options say what the gateway needs. All are required.
type Options struct {
	// Transport is the way to the API server of a cluster.
	Transport func(cluster string) http.RoundTripper
	// Exists tells whether there is a Cluster of that name.
	Exists func(ctx context.Context, cluster string) (bool, error)
	// Leads tells whether tunnels end at this replica; one that stands by serves discovery only.
	Leads func() bool
	Auth  *Auth
}

// Gateway proxies requests to managed clusters.
type Gateway struct {
	options Options
	codecs  serializer.CodecFactory
	chain   http.Handler
}

// New returns a gateway.
func New(options Options) (*Gateway, error) {
	if options.Transport == nil || options.Exists == nil || options.Leads == nil || options.Auth == nil {
		return nil, errors.New("creating the gateway: Transport, Exists, Leads and Auth are required")
	}
	return newGateway(options, options.Auth.authenticator, options.Auth.authorizer, options.Auth.header), nil
}

func newGateway(options Options, authn authenticator.Request, authz authorizer.Authorizer, header *authenticatorfactory.RequestHeaderConfig) *Gateway {
	scheme := runtime.NewScheme()
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned, &metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	g := &Gateway{options: options, codecs: serializer.NewCodecFactory(scheme)}

	var chain http.Handler = g.route(g.discovery())
	chain = filters.WithAuthorization(chain, authz, g.codecs)
	chain = filters.WithAuthentication(chain, authn, g.unauthorized(), nil, header)
	chain = filters.WithRequestInfo(chain, resolver{factory: request.RequestInfoFactory{
		APIPrefixes: sets.NewString("apis", "api"), GrouplessAPIPrefixes: sets.NewString("api"),
	}})
	g.chain = g.refuseAmbiguous(chain)
	return g
}

// unauthorized also ends the connection: whoever is not known may not keep one.
func (g *Gateway) unauthorized() http.Handler {
	refuse := filters.Unauthorized(g.codecs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		refuse.ServeHTTP(w, r)
	})
}

// Aggregated is the first door: an extension API server.
func (g *Gateway) Aggregated() http.Handler { return g.chain }

// Direct is the second door, for paths below DirectPrefix.
func (g *Gateway) Direct() http.Handler {
	return g.refuseAmbiguous(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), DirectPrefix)
		if !ok {
			http.NotFound(w, r)
			return
		}
		r = r.Clone(r.Context())
		if err := setPath(r.URL, aggregatedPrefix()+rest); err != nil {
			g.fail(w, r, badRequest(err.Error()))
			return
		}
		g.chain.ServeHTTP(w, r)
	}))
}

// resolver tells what a request is about in terms of authorization.
type resolver struct{ factory request.RequestInfoFactory }

// NewRequestInfo gives an upgrade the verb create, whatever its method: exec and port-forward by websocket are GETs, and
// the right to read must not be enough for them.
func (r resolver) NewRequestInfo(req *http.Request) (*request.RequestInfo, error) {
	info, err := r.factory.NewRequestInfo(req)
	if err == nil && info.IsResourceRequest && isUpgrade(req) {
		info.Verb = "create"
	}
	return info, err
}

// route serves what passed authentication and authorization.
func (g *Gateway) route(discovery http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// The server gives callers that are not known only a short time; uploads and streams of these may last.
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			g.fail(w, r, apierrors.NewInternalError(fmt.Errorf("removing the read deadline: %w", err)))
			return
		}
		info, ok := request.RequestInfoFrom(r.Context())
		if !ok {
			responsewriters.InternalError(w, r, errors.New("the request was not classified"))
			return
		}
		if !info.IsResourceRequest {
			discovery.ServeHTTP(w, r)
			return
		}
		if info.APIGroup != GroupVersion.Group || info.APIVersion != GroupVersion.Version || info.Resource != resource ||
			info.Subresource != subresource || info.Name == "" {
			g.fail(w, r, notServed(r.URL.Path))
			return
		}
		if len(validation.IsDNS1123Label(info.Name)) > 0 {
			g.fail(w, r, noCluster(info.Name))
			return
		}
		g.proxy(w, r, info.Name)
	}
}

// Lasts tells of a request that does not end by itself: a watch, a log that is followed, an upgraded connection.
func Lasts(r *http.Request) bool {
	if isUpgrade(r) {
		return true
	}
	query := r.URL.Query()
	for _, name := range []string{"watch", "follow"} {
		if lasts, err := strconv.ParseBool(query.Get(name)); err == nil && lasts {
			return true
		}
	}
	return false
}

func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	responsewriters.RespondWithError(w, r, err, g.codecs)
}
