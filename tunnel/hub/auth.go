// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

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

// doorkeeper bounds how many connects of one address are being looked at.
type doorkeeper struct {
	limit int

	mu     sync.Mutex
	inside map[string]int
}

func newDoorkeeper(limit int) *doorkeeper {
	return &doorkeeper{limit: limit, inside: map[string]int{}}
}

// enter returns the way out, or nil when too many are inside.
func (d *doorkeeper) enter(remoteAddr string) (leave func()) {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside[host] >= d.limit {
		return nil
	}
	d.inside[host]++
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.inside[host]--
		if d.inside[host] == 0 {
			delete(d.inside, host)
		}
	})
}
