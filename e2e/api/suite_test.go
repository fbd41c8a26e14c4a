// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package api_test proves the rules of the API on a real API server: what it takes, what it refuses and with which
// words. It knows nothing of the controllers.
package api_test

import (
	"fmt"
	"os"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// server is the API server of this test binary, with the CRDs installed.
type server struct {
	client     client.Client
	kubeconfig string
}

// TestMain has no other way to hand it to the tests.
var started *server

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	env := &envtest.Environment{}
	config, err := env.Start()
	if err != nil {
		return 0, fmt.Errorf("starting the API server: %w", err)
	}
	defer func() {
		if stopErr := env.Stop(); err == nil && stopErr != nil {
			err = fmt.Errorf("stopping the API server: %w", stopErr)
		}
	}()
	// Plain kubectl apply keeps the whole object in an annotation of at most 256 KiB; installing the CRDs by it proves
	// that they fit.
	started = &server{}
	if started.kubeconfig, err = writeKubeconfig(env); err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(started.kubeconfig) }()
	if err := started.installCRDs(); err != nil {
		return 0, err
	}
	if started.client, err = client.New(config, client.Options{}); err != nil {
		return 0, fmt.Errorf("making a client: %w", err)
	}
	return m.Run(), nil
}

func writeKubeconfig(env *envtest.Environment) (string, error) {
	user, err := env.AddUser(envtest.User{Name: "installer", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return "", fmt.Errorf("adding a user: %w", err)
	}
	content, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig: %w", err)
	}
	file, err := os.CreateTemp("", "kubeconfig-*")
	if err != nil {
		return "", err
	}
	if _, err := file.Write(content); err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatalf("parsing the manifest of the test: %v", err)
	}
	object.SetAPIVersion(kubeproberv1.GroupVersion.String())
	if mapping, err := started.client.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind(), "v1"); err != nil {
		t.Fatal(err)
	} else if mapping.Scope.Name() == apimeta.RESTScopeNameNamespace {
		object.SetNamespace("default")
	}
	return object
}
