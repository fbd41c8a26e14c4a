// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certs gives the master's TLS servers their certificate. It comes from one Secret, which either the master
// fills and rotates itself or cert-manager does. The package knows nothing of what is served with it.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Provider is who fills the Secret.
type Provider string

const (
	// ProviderSelf is the master itself.
	ProviderSelf Provider = "self"
	// ProviderCertManager is cert-manager.
	ProviderCertManager Provider = "cert-manager"
)

// fieldOwner is who writes the Secret, and the CA into the objects that need it.
const fieldOwner = "probe-master-certs"

// Options say where the certificate is and what it is for.
type Options struct {
	Provider Provider
	// Secret holds the certificate in the keys tls.crt and tls.key. ProviderSelf makes it when it is missing.
	Secret types.NamespacedName
	// Labels are on a Secret that ProviderSelf makes.
	Labels map[string]string
	// Dir is a directory that the master may write to, used by ProviderSelf.
	Dir string
	// DNSNames are what the certificate is for.
	DNSNames []string
	// Webhook and APIService name the objects that ProviderSelf writes the CA into.
	Webhook, APIService string
}

// Store holds the certificate of the moment.
type Store struct {
	client  client.Client
	options Options
	current atomic.Pointer[tls.Certificate]
}

// Setup registers the controllers that keep the certificate current, and returns where servers get it.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) (*Store, error) {
	store := &Store{client: mgr.GetClient(), options: options}
	isOurs := predicate.NewPredicateFuncs(func(o client.Object) bool { return client.ObjectKeyFromObject(o) == options.Secret })
	err := ctrl.NewControllerManagedBy(mgr).
		Named("certificate").
		For(&corev1.Secret{}).
		WithEventFilter(isOurs).
		// Every replica serves, whether it leads or not.
		WithOptions(controller.Options{NeedLeaderElection: new(false)}).
		Complete(store)
	if err != nil {
		return nil, fmt.Errorf("setting up the certificate controller: %w", err)
	}
	switch options.Provider {
	case ProviderCertManager:
		return store, nil
	case ProviderSelf:
		// The rotator ends the process when there is no Secret to begin with.
		err := mgr.GetAPIReader().Get(ctx, options.Secret, &corev1.Secret{})
		if apierrors.IsNotFound(err) {
			err = store.create(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("reading Secret %s: %w", options.Secret, err)
		}
		return store, addRotator(mgr, options)
	default:
		return nil, fmt.Errorf("certificate provider %q is none of %s, %s", options.Provider, ProviderSelf, ProviderCertManager)
	}
}

func addRotator(mgr ctrl.Manager, options Options) error {
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return fmt.Errorf("creating the certificate directory: %w", err)
	}
	err := rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:      options.Secret,
		CertDir:        options.Dir,
		CAName:         "probe-master-ca",
		CAOrganization: "kubeprober",
		DNSName:        options.DNSNames[0],
		ExtraDNSNames:  options.DNSNames[1:],
		IsReady:        make(chan struct{}),
		Webhooks: []rotator.WebhookInfo{
			{Name: options.Webhook, Type: rotator.Validating},
			{Name: options.APIService, Type: rotator.APIService},
		},
		FieldOwner:            fieldOwner,
		RequireLeaderElection: true,
	})
	if err != nil {
		return fmt.Errorf("setting up certificate rotation: %w", err)
	}
	return nil
}

// create makes an empty Secret, which the watch shows to the rotator: it then issues a new authority and certificate.
func (s *Store) create(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.options.Secret.Namespace, Name: s.options.Secret.Name, Labels: s.options.Labels,
	}}
	err := s.client.Create(ctx, secret, client.FieldOwner(fieldOwner))
	if apierrors.IsAlreadyExists(err) {
		// Another replica was faster.
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating Secret %s: %w", s.options.Secret, err)
	}
	ctrl.LoggerFrom(ctx).Info("Created the Secret of the serving certificate, which was missing", "Secret", s.options.Secret.String())
	return nil
}

// Reconcile loads the certificate from the Secret, or makes a Secret that was deleted anew. One that is not complete yet
// changes nothing: the watch wakes us.
func (s *Store) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	secret := &corev1.Secret{}
	if err := s.client.Get(ctx, request.NamespacedName, secret); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, fmt.Errorf("reading Secret %s: %w", request.NamespacedName, err)
		}
		if s.options.Provider == ProviderSelf {
			return reconcile.Result{}, s.create(ctx)
		}
		// cert-manager makes it, and the watch wakes us.
		return reconcile.Result{}, nil
	}
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	if len(cert) == 0 || len(key) == 0 {
		return reconcile.Result{}, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("loading the certificate of Secret %s: %w", request.NamespacedName, err)
	}
	s.current.Store(&pair)
	ctrl.LoggerFrom(ctx).Info("Loaded the serving certificate", "notAfter", pair.Leaf.NotAfter)
	if s.options.Provider != ProviderSelf {
		return reconcile.Result{}, nil
	}
	// The rotator ends the process unless it finds the certificate as a file. The key stays in memory.
	if err := os.WriteFile(filepath.Join(s.options.Dir, corev1.TLSCertKey), cert, 0o600); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing the certificate: %w", err)
	}
	return reconcile.Result{}, nil
}

var errNoCertificate = errors.New("there is no certificate yet")

// GetCertificate is for tls.Config: every handshake takes the certificate of the moment.
func (s *Store) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := s.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, errNoCertificate
}

// Ready is a readiness check: it passes once there is a certificate.
func (s *Store) Ready(*http.Request) error {
	if s.current.Load() == nil {
		return errNoCertificate
	}
	return nil
}
