// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// SecretName is the Secret in the agent's namespace that holds the key. Deleting it and restarting the agent makes every
	// report URL that was given out worthless.
	SecretName = "probeagent-report-key"
	secretKey  = "key"
)

// LoadKey reads the key of the agent's namespace, and makes it when there is none. The client must not be a cached one: the
// agent may read this one Secret and no other.
func LoadKey(ctx context.Context, c client.Client, namespace string) ([]byte, error) {
	name := types.NamespacedName{Namespace: namespace, Name: SecretName}
	secret := &corev1.Secret{}
	err := c.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		if err := createKey(ctx, c, namespace); err != nil {
			return nil, err
		}
		err = c.Get(ctx, name, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	if len(secret.Data[secretKey]) < KeySize {
		return nil, fmt.Errorf("key %q of Secret %s has fewer than %d bytes: delete the Secret, and the agent makes a new one",
			secretKey, name, KeySize)
	}
	return secret.Data[secretKey], nil
}

func createKey(ctx context.Context, c client.Client, namespace string) error {
	key := make([]byte, KeySize)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("making the key of report URLs: %w", err)
	}
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: SecretName,
			Labels: map[string]string{"app.kubernetes.io/name": "probe-agent", "app.kubernetes.io/part-of": "kubeprober"},
		},
		Immutable: &immutable,
		Data:      map[string][]byte{secretKey: key},
	}
	// Another replica may have been quicker; its key is as good.
	if err := c.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Secret %s/%s: %w", namespace, SecretName, err)
	}
	return nil
}
