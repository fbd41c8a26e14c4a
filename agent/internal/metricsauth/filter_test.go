// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package metricsauth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

func TestTheAPIServerDecidesWhoReadsTheMetrics(t *testing.T) {
	tests := map[string]struct {
		header        string
		authenticated bool
		allowed       bool
		broken        bool
		want          int
	}{
		"nobody":                       {want: http.StatusUnauthorized},
		"a password":                   {header: "Basic abc", authenticated: true, allowed: true, want: http.StatusUnauthorized},
		"an unknown token":             {header: "Bearer abc", want: http.StatusUnauthorized},
		"a user without the right":     {header: "Bearer abc", authenticated: true, want: http.StatusForbidden},
		"a user with the right":        {header: "Bearer abc", authenticated: true, allowed: true, want: http.StatusOK},
		"an API server that is broken": {header: "Bearer abc", authenticated: true, allowed: true, broken: true, want: http.StatusInternalServerError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var reviews int
			client := fake.NewClientset()
			client.PrependReactor("create", "*", func(action kubetesting.Action) (bool, runtime.Object, error) {
				reviews++
				if test.broken {
					return true, nil, errors.New("broken")
				}
				switch o := action.(kubetesting.CreateAction).GetObject().(type) {
				case *authenticationv1.TokenReview:
					o.Status.Authenticated = test.authenticated && o.Spec.Token == "abc"
					o.Status.User.Username = "reader"
					return true, o, nil
				case *authorizationv1.SubjectAccessReview:
					attributes := o.Spec.NonResourceAttributes
					o.Status.Allowed = test.allowed && o.Spec.User == "reader" && attributes.Path == "/metrics" && attributes.Verb == "get"
					return true, o, nil
				default:
					return false, nil, nil
				}
			})
			handler, err := newFilter(client)(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
			if err != nil {
				t.Fatal(err)
			}
			var first int
			for range 2 {
				recorder := httptest.NewRecorder()
				request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				if test.header != "" {
					request.Header.Set("Authorization", test.header)
				}
				handler.ServeHTTP(recorder, request)
				if recorder.Code != test.want {
					t.Errorf("answer %d, want %d", recorder.Code, test.want)
				}
				if first == 0 {
					first = reviews
				}
			}
			if !test.broken && reviews != first {
				t.Error("a decision is not remembered")
			}
		})
	}
}
