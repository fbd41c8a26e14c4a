// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"

	"github.com/kubeprober/kubeprober/tunnel/internal/protocol"
)

const maxVersion = 128

var errNoSecret = errors.New("an empty secret would let every agent in: set the secret that agents must present")

// checkSecrets refuses a source that would let in an agent without a secret.
func checkSecrets(source SecretSource) error {
	secrets := source()
	if len(secrets) == 0 {
		return errNoSecret
	}
	for _, secret := range secrets {
		if len(secret) == 0 {
			return errNoSecret
		}
	}
	return nil
}

// authenticate checks an agent's request against the secrets of this moment.
func authenticate(r *http.Request, source SecretSource) (Identity, error) {
	if !knownSecret(r.Header.Get(protocol.HeaderSecret), source()) {
		return Identity{}, &AuthError{http.StatusUnauthorized, "the secret key is wrong: compare the agent's secret_key with the master's SERVER_SECRET_KEY"}
	}
	id := Identity{
		Cluster:      r.Header.Get(protocol.HeaderCluster),
		UID:          r.Header.Get(protocol.HeaderUID),
		RemoteAddr:   r.RemoteAddr,
		AgentVersion: r.Header.Get(protocol.HeaderVersion),
	}
	if err := protocol.CheckClusterName(id.Cluster); err != nil {
		return Identity{}, &AuthError{http.StatusBadRequest, err.Error()}
	}
	if err := protocol.CheckUID(id.UID); err != nil {
		return Identity{}, &AuthError{http.StatusBadRequest, err.Error()}
	}
	if len(id.AgentVersion) > maxVersion {
		return Identity{}, &AuthError{http.StatusBadRequest, fmt.Sprintf("the agent version is longer than %d bytes", maxVersion)}
	}
	return id, nil
}

// knownSecret compares sums, so that the time taken tells neither bytes nor length, and
// looks at all secrets, so that it does not tell which one matched.
func knownSecret(presented string, secrets [][]byte) bool {
	sum := sha256.Sum256([]byte(presented))
	known := 0
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue // a source that lost its secret lets nobody in
		}
		want := sha256.Sum256(secret)
		known |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return known == 1
}
