// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package capability makes and checks the report URLs of runs. A capability says which run its bearer may report for, and
// carries a keyed digest of that, so that it can be checked after a restart and on any replica without having been stored.
// It knows nothing of HTTP and of whether a run is still going on.
package capability

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// KeySize is the least size of a key, in bytes.
	KeySize = 32
	// MaxLength bounds a capability, in bytes.
	MaxLength = 2048

	separator = "."
	// purpose keeps a digest made for something else with the same key from being a capability.
	purpose = "kubeprober-report-v1\x00"
)

// ErrForged is returned for anything that was not made with the key.
var ErrForged = errors.New("this is no report URL that the agent has given out")

// Claims is what a capability allows: to report for one run, until its deadline.
type Claims struct {
	// Namespace of the probe.
	Namespace string `json:"s"`
	// Probe is the name of the probe.
	Probe string `json:"p"`
	// ProbeRun is the one-time diagnosis that the run belongs to; empty for a scheduled run.
	ProbeRun string `json:"o,omitempty"`
	// OwnerUID is the UID of the ProbeRun, or of the Probe, so that an object of the same name made later is not meant.
	OwnerUID types.UID `json:"u"`
	// RunID of the run.
	RunID string `json:"r"`
	// Node that the results are about; empty when they are about the whole cluster.
	Node string `json:"n,omitempty"`
	// Deadline of the run, in Unix seconds.
	Deadline int64 `json:"d"`
}

// Over tells whether the deadline has passed.
func (c *Claims) Over(now time.Time) bool { return now.Unix() > c.Deadline }

// Authority makes and checks capabilities.
type Authority struct{ key []byte }

// NewAuthority makes an authority. The key must have at least KeySize bytes.
func NewAuthority(key []byte) (*Authority, error) {
	if len(key) < KeySize {
		return nil, fmt.Errorf("the key of report URLs has %d bytes, fewer than %d", len(key), KeySize)
	}
	return &Authority{key: key}, nil
}

// Issue makes a capability. It is one segment of a URL path.
func (a *Authority) Issue(claims Claims) (string, error) {
	data, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims of run %s: %w", claims.RunID, err)
	}
	payload := base64.RawURLEncoding.EncodeToString(data)
	text := payload + separator + base64.RawURLEncoding.EncodeToString(a.digest(payload))
	if len(text) > MaxLength {
		return "", fmt.Errorf("the capability of run %s has %d bytes, more than %d", claims.RunID, len(text), MaxLength)
	}
	return text, nil
}

// Verify returns what a capability allows, or ErrForged. Nothing of the text is read before its digest is found right.
func (a *Authority) Verify(text string) (*Claims, error) {
	if len(text) > MaxLength {
		return nil, ErrForged
	}
	payload, mac, found := strings.Cut(text, separator)
	if !found {
		return nil, ErrForged
	}
	// Strict: a digest has one spelling only.
	given, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil || !hmac.Equal(given, a.digest(payload)) {
		return nil, ErrForged
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return nil, ErrForged
	}
	claims := &Claims{}
	if err := json.Unmarshal(data, claims); err != nil {
		return nil, ErrForged
	}
	return claims, nil
}

func (a *Authority) digest(payload string) []byte {
	h := hmac.New(sha256.New, a.key)
	h.Write([]byte(purpose))
	h.Write([]byte(payload))
	return h.Sum(nil)
}
