// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metricsauth lets the API server decide who may read the metrics: a TokenReview says who asks, a
// SubjectAccessReview whether they may. It is a small part of what k8s.io/apiserver does; that library with all it needs would
// take the agent, which runs in every cluster, beyond its bound of memory.
package metricsauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// remember is how long a decision holds: shorter than the time between two scrapes would be of no use.
	remember = time.Minute
	// maxDecisions bounds those that are remembered.
	maxDecisions  = 256
	reviewTimeout = 10 * time.Second
	// maxToken is longer than any token that an API server accepts.
	maxToken = 16 << 10
)

var (
	errNotAuthenticated = errors.New("the request carries no valid bearer token")
	errNotAllowed       = errors.New("this user may not read the metrics")
)

// reviewer decides about requests and remembers decisions.
type reviewer struct {
	client kubernetes.Interface
	known  *cache.Expiring
}

// NewFilter makes a filter for the metrics server of a manager.
func NewFilter(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	client, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("making a client for reviews: %w", err)
	}
	return newFilter(client), nil
}

func newFilter(client kubernetes.Interface) metricsserver.Filter {
	r := &reviewer{client: client, known: cache.NewExpiring()}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			switch err := r.review(request); {
			case err == nil:
				next.ServeHTTP(w, request)
			case errors.Is(err, errNotAuthenticated):
				http.Error(w, err.Error(), http.StatusUnauthorized)
			case errors.Is(err, errNotAllowed):
				http.Error(w, err.Error(), http.StatusForbidden)
			default:
				log.Error(err, "Request for metrics cannot be reviewed")
				http.Error(w, "the API server cannot be asked", http.StatusInternalServerError)
			}
		}), nil
	}
}

// review returns nil for a request that may pass, and errNotAuthenticated or errNotAllowed for one that may not.
func (r *reviewer) review(request *http.Request) error {
	scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return errNotAuthenticated
	}
	// A digest, so that no token lies in memory longer than its request.
	key := sha256.Sum256([]byte(token + "\x00" + request.Method + "\x00" + request.URL.Path))
	if decision, ok := r.known.Get(key); ok {
		err, _ := decision.(error)
		return err
	}
	ctx, cancel := context.WithTimeout(request.Context(), reviewTimeout)
	defer cancel()
	err := r.ask(ctx, token, strings.ToLower(request.Method), request.URL.Path)
	final := err == nil || errors.Is(err, errNotAuthenticated) || errors.Is(err, errNotAllowed)
	if final && r.known.Len() < maxDecisions {
		r.known.Set(key, err, remember)
	}
	return err
}

func (r *reviewer) ask(ctx context.Context, token, verb, path string) error {
	who := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	who, err := r.client.AuthenticationV1().TokenReviews().Create(ctx, who, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("reviewing a token: %w", err)
	}
	if !who.Status.Authenticated {
		return errNotAuthenticated
	}
	extra := make(map[string]authorizationv1.ExtraValue, len(who.Status.User.Extra))
	for name, values := range who.Status.User.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	may := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.Status.User.Username, UID: who.Status.User.UID, Groups: who.Status.User.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
	}}
	may, err = r.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, may, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("reviewing the access of %s: %w", who.Status.User.Username, err)
	}
	if !may.Status.Allowed {
		return errNotAllowed
	}
	return nil
}
