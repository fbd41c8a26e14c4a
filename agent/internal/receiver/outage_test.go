// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// watchedStore tells of each try to store.
type watchedStore struct {
	*record.Store
	tried chan error
}

func (s *watchedStore) Report(ctx context.Context, ref record.Ref, node string, reported []report.Checker, now time.Time) error {
	err := s.Store.Report(ctx, ref, node, reported, now)
	select {
	case s.tried <- err:
	default:
	}
	return err
}

func TestAReportOutlivesAnOutageOfTheAPIServer(t *testing.T) {
	environment := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "apis", "crds")}, ErrorIfCRDPathMissing: true}
	// A folder of its own keeps the certificates for the second start.
	environment.ControlPlane.GetAPIServer().CertDir = t.TempDir()
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("starting an API server: %v; KUBEBUILDER_ASSETS must name a folder with etcd and kube-apiserver, as `make -C agent test` does", err)
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	}()
	// The clients go while the API server is still there to close their connections.
	defer http.DefaultClient.CloseIdleConnections()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer httpClient.CloseIdleConnections()
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api, err := client.New(config, client.Options{Scheme: scheme, HTTPClient: httpClient})
	if err != nil {
		t.Fatal(err)
	}
	probe := &kubeproberv1.Probe{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "k8s"},
		Spec:       kubeproberv1.ProbeSpec{Template: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.test/c:v1"}}}},
	}
	if err := api.Create(t.Context(), probe); err != nil {
		t.Fatal(err)
	}

	f := newFixture(t)
	store := &watchedStore{Store: record.NewStore(api, api), tried: make(chan error)}
	f.receiver.store, f.receiver.holdFor = store, holdTimeout
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.receiver.Start(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	f.url = "http://" + (<-f.receiver.bound).String()
	mine := claims
	mine.Namespace, mine.OwnerUID = probe.Namespace, probe.UID
	url := f.urlOf(t, mine)

	if err := environment.ControlPlane.APIServer.Stop(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		response, err := http.Post(url, "application/json", strings.NewReader(`{"checkers":[{"name":"dns","status":"PASS"}]}`))
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	for range 2 {
		if err := <-store.tried; err == nil {
			t.Fatal("stored without an API server")
		}
	}
	if err := environment.ControlPlane.APIServer.Start(); err != nil {
		t.Fatal(err)
	}
	if code := <-answered; code != http.StatusOK {
		t.Errorf("answered with %d", code)
	}
	status := &kubeproberv1.ProbeStatus{}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(probe), status); err != nil {
		t.Fatal(err)
	}
	if len(status.Status.Checkers) != 1 || status.Status.Checkers[0].Name != "dns" || len(f.attempts.list()) != 0 {
		t.Errorf("stored %+v, refused %v", status.Status.Checkers, f.attempts.list())
	}
}
