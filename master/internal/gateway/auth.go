// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// The ConfigMap in which an API server publishes how it authenticates to extension API servers.
const (
	authNamespace = "kube-system"
	authConfigMap = "extension-apiserver-authentication"
)

const (
	// cacheTTL is how long an answer of the API server about a token or a permission is used again.
	cacheTTL = 10 * time.Second
	// reviewTimeout bounds one question to the API server.
	reviewTimeout = 10 * time.Second
)

// Auth asks the master's API server who a caller is and what the caller may do.
type Auth struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
	header        *authenticatorfactory.RequestHeaderConfig

	log       logr.Logger
	headers   *headerrequest.RequestHeaderAuthRequestController
	proxyCA   *dynamiccertificates.ConfigMapCAController
	clientsCA *dynamiccertificates.ConfigMapCAController
}

// NewAuth returns an Auth. Until Start has loaded the API server's certificate authorities, it knows callers by token only.
func NewAuth(client kubernetes.Interface, log logr.Logger) (*Auth, error) {
	a := &Auth{log: log}
	var err error
	if a.proxyCA, err = dynamiccertificates.NewDynamicCAFromConfigMapController("aggregator", authNamespace, authConfigMap, "requestheader-client-ca-file", client); err != nil {
		return nil, fmt.Errorf("creating the authority of the API server's proxy: %w", err)
	}
	if a.clientsCA, err = dynamiccertificates.NewDynamicCAFromConfigMapController("clients", authNamespace, authConfigMap, "client-ca-file", client); err != nil {
		return nil, fmt.Errorf("creating the authority of clients: %w", err)
	}
	a.headers = headerrequest.NewRequestHeaderAuthRequestController(authConfigMap, authNamespace, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")
	a.header = &authenticatorfactory.RequestHeaderConfig{
		CAContentProvider:   a.proxyCA,
		UsernameHeaders:     headerrequest.StringSliceProviderFunc(a.headers.UsernameHeaders),
		UIDHeaders:          headerrequest.StringSliceProviderFunc(a.headers.UIDHeaders),
		GroupHeaders:        headerrequest.StringSliceProviderFunc(a.headers.GroupHeaders),
		ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(a.headers.ExtraHeaderPrefixes),
		AllowedClientNames:  headerrequest.StringSliceProviderFunc(a.headers.AllowedClientNames),
	}
	backoff := &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 4}
	a.authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: false},
		TokenAccessReviewClient:            client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewTimeout,
		WebhookRetryBackoff:                backoff,
		CacheTTL:                           cacheTTL,
		ClientCertificateCAContentProvider: a.clientsCA,
		RequestHeaderConfig:                a.header,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("creating the authenticator: %w", err)
	}
	a.authorizer, err = authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(),
		AllowCacheTTL:             cacheTTL,
		DenyCacheTTL:              cacheTTL,
		WebhookRetryBackoff:       backoff,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("creating the authorizer: %w", err)
	}
	return a, nil
}

// Start loads the API server's certificate authorities and follows them until ctx ends.
func (a *Auth) Start(ctx context.Context) error {
	for _, load := range []func(context.Context) error{a.headers.RunOnce, a.proxyCA.RunOnce, a.clientsCA.RunOnce} {
		if err := load(ctx); err != nil {
			// A cluster without an aggregation layer publishes none: callers with tokens are served all the same.
			a.log.Info("The API server does not publish all of its certificate authorities", "reason", err.Error())
		}
	}
	var group sync.WaitGroup
	for _, follow := range []func(context.Context, int){a.headers.Run, a.proxyCA.Run, a.clientsCA.Run} {
		group.Go(func() { follow(ctx, 1) })
	}
	group.Wait()
	return nil
}

// NeedLeaderElection is false: callers are to be known before the first request comes.
func (a *Auth) NeedLeaderElection() bool { return false }
