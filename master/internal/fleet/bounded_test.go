// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// answering is a hub with one cluster that gives the same answer to everything.
type answering func() io.Reader

func (a answering) Connected(string) bool                          { return true }
func (a answering) RoundTripper(string) http.RoundTripper          { return a }
func (a answering) Disconnect(string, string) bool                 { return false }
func (a answering) Subscribe(func(hub.Event)) (unsubscribe func()) { return func() {} }

func (a answering) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: request, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(a()),
	}, nil
}

func TestAnswersOfManagedClustersAreBounded(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	const head, tail = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"k":"`, `"}}`
	for _, test := range []struct {
		name string
		size int
		fits bool
	}{
		{name: "what is as large as allowed is read", size: maxAnswer, fits: true},
		{name: "one byte more is refused", size: maxAnswer + 1},
		{name: "much more is refused", size: 2 * maxAnswer},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := New(Options{Scheme: scheme, Tunnels: answering(func() io.Reader {
				filler := bytes.Repeat([]byte("x"), test.size-len(head)-len(tail))
				return io.MultiReader(strings.NewReader(head), bytes.NewReader(filler), strings.NewReader(tail))
			})})
			c, err := f.Client("edge")
			if err != nil {
				t.Fatal(err)
			}
			err = c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "c"}, &corev1.ConfigMap{})
			if test.fits && err != nil {
				t.Errorf("reading: %v", err)
			}
			if !test.fits && (err == nil || !strings.Contains(err.Error(), "the answer of cluster edge: it is larger than 16777216 bytes")) {
				t.Errorf("reading gave %v, want that it is too large", err)
			}
		})
	}
}
