// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

const (
	// maxSecretFile bounds the file of secrets, in bytes.
	maxSecretFile = 64 << 10
	// lookEvery is how often the file is looked at, at most.
	lookEvery = time.Second
)

// SecretFile is a file of secrets, one a line; empty lines do not count. It is read again
// when it changes, and what it held before stays valid for an overlap, so that agents can
// be given a new secret one after the other.
type SecretFile struct {
	path    string
	overlap time.Duration
	log     logr.Logger
	now     func() time.Time

	mu      sync.Mutex
	looked  time.Time
	content []byte
	current [][]byte
	old     [][]byte
	oldTill time.Time
}

// NewSecretFile reads the file at path. It refuses one without a secret. The overlap is
// how long the secrets of before are valid after a change; 0 is none.
func NewSecretFile(path string, overlap time.Duration, log logr.Logger) (*SecretFile, error) {
	f := &SecretFile{path: path, overlap: overlap, log: log, now: time.Now}
	content, secrets, err := f.read()
	if err != nil {
		return nil, err
	}
	f.content, f.current, f.looked = content, secrets, f.now()
	return f, nil
}

// Secrets is a SecretSource. A file that cannot be read, or has no secret, changes nothing
// but the log.
func (f *SecretFile) Secrets() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.looked) >= lookEvery {
		f.looked = now
		f.look(now)
	}
	if now.After(f.oldTill) {
		f.old = nil
	}
	return slices.Concat(f.current, f.old)
}

func (f *SecretFile) look(now time.Time) {
	content, secrets, err := f.read()
	switch {
	case err != nil:
		f.log.Error(err, "Keeping the secrets of before")
	case !bytes.Equal(content, f.content):
		f.old, f.oldTill = f.current, now.Add(f.overlap)
		f.content, f.current = content, secrets
		f.log.Info("Secrets of agents changed", "secrets", len(secrets), "formerValidFor", f.overlap.String())
	}
}

func (f *SecretFile) read() (content []byte, secrets [][]byte, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the secrets of agents: %w", err)
	}
	content, err = io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	_ = file.Close() // it was only read
	if err != nil {
		return nil, nil, fmt.Errorf("reading the secrets of agents: %w", err)
	}
	if len(content) > maxSecretFile {
		return nil, nil, fmt.Errorf("reading the secrets of agents: %s is longer than %d bytes", f.path, maxSecretFile)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, []byte(line))
		}
	}
	if len(secrets) == 0 {
		return nil, nil, fmt.Errorf("reading the secrets of agents: %s: %w", f.path, errNoSecret)
	}
	return content, secrets, nil
}
