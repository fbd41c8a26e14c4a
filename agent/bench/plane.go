// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// plane is an API server with what is deployed to it.
type plane struct {
	name   string
	client client.WithWatch
	// deployments are the workloads of the manifest: nothing runs them here.
	deployments map[string]*appsv1.Deployment
	// audit is the file in which the API server notes the requests of service accounts.
	audit string
	// address is where the program that belongs to the plane listens, if others need to know.
	address string

	environment *envtest.Environment
	dir         string
}

// auditPolicy has each request noted once, when it comes.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

// startPlane starts an API server and applies a manifest of deployment/ to it.
func (r *rig) startPlane(ctx context.Context, name, manifest string) (*plane, error) {
	p := &plane{name: name, deployments: map[string]*appsv1.Deployment{}, dir: r.dir, audit: filepath.Join(r.dir, name+"-audit.log")}
	policy := filepath.Join(r.dir, name+"-audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, fmt.Errorf("writing the audit policy: %w", err)
	}
	p.environment = &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join(r.config.root, "apis", "crds")}, ErrorIfCRDPathMissing: true}
	p.environment.ControlPlane.GetAPIServer().Configure().Set("audit-policy-file", policy).Set("audit-log-path", p.audit)
	config, err := p.environment.Start()
	if err != nil {
		return nil, fmt.Errorf("starting the API server (`make -C agent bench` sets KUBEBUILDER_ASSETS): %w", err)
	}
	r.onClose(p.environment.Stop)
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), kubeproberv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("making the scheme: %w", err)
	}
	if p.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return p, p.apply(ctx, filepath.Join(r.config.root, "deployment", manifest))
}

// apply creates what a manifest holds, but for the CRDs, which are there, and the workloads.
func (p *plane) apply(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the manifest: %w", err)
	}
	defer func() { _ = file.Close() }()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		switch object.GetKind() {
		case "", "CustomResourceDefinition":
			continue
		case "Deployment":
			workload := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, workload); err != nil {
				return fmt.Errorf("reading Deployment %s of %s: %w", object.GetName(), path, err)
			}
			p.deployments[object.GetName()] = workload
			continue
		}
		if err := p.client.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

// kubeconfig writes a kubeconfig for a service account.
func (p *plane) kubeconfig(ctx context.Context, account string) (string, error) {
	request := &authenticationv1.TokenRequest{}
	owner := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := p.client.SubResource("token").Create(ctx, owner, request); err != nil {
		return "", fmt.Errorf("asking for a token of service account %s: %w", account, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[p.name] = &clientcmdapi.Cluster{
		Server: p.environment.Config.Host, CertificateAuthorityData: p.environment.Config.CAData,
	}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: request.Status.Token}
	config.Contexts[p.name] = &clientcmdapi.Context{Cluster: p.name, AuthInfo: account}
	config.CurrentContext = p.name
	path := filepath.Join(p.dir, account+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", account, err)
	}
	return path, nil
}

// environmentOf is what the manifest sets for a program, such as the limits of its memory.
func (p *plane) environmentOf(deployment string) ([]string, error) {
	workload := p.deployments[deployment]
	if workload == nil || len(workload.Spec.Template.Spec.Containers) != 1 {
		return nil, fmt.Errorf("the manifest of the %s has no Deployment %s with one container", p.name, deployment)
	}
	env := []string{"POD_NAMESPACE=" + namespace}
	for _, v := range workload.Spec.Template.Spec.Containers[0].Env {
		if v.ValueFrom == nil {
			env = append(env, v.Name+"="+v.Value)
		}
	}
	return env, nil
}

// watch hands the objects of a namespace over as they are and change, until so many of them are done.
func (p *plane) watch(ctx context.Context, list client.ObjectList, count int, done func(client.Object) (bool, error), options ...client.ListOption) error {
	watcher, err := p.client.Watch(ctx, list, append([]client.ListOption{client.InNamespace(namespace)}, options...)...)
	if err != nil {
		return fmt.Errorf("watching %T: %w", list, err)
	}
	defer watcher.Stop()
	ready := map[types.UID]bool{}
	for len(ready) < count {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d objects of %T, with %d done: %w", count, list, len(ready), ctx.Err())
		case event, open := <-watcher.ResultChan():
			if !open {
				return fmt.Errorf("watching %T: the watch has ended", list)
			}
			object, ok := event.Object.(client.Object)
			if !ok {
				return fmt.Errorf("watching %T: %w", list, apierrors.FromObject(event.Object))
			}
			is, err := done(object)
			if err != nil {
				return err
			}
			if is {
				ready[object.GetUID()] = true
			}
		}
	}
	return nil
}
