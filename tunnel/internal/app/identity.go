// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/tunnel/internal/backoff"
)

const (
	// identityPath is the object whose UID stands for the cluster: it is there from the
	// cluster's first moment to its last, and no two clusters share it.
	identityPath = "/api/v1/namespaces/kube-system"
	identityTime = 10 * time.Second
	maxIdentity  = 1 << 20
)

// waitForUID asks the API server for the cluster's UID until it tells. It returns an empty
// UID when ctx ends before that.
func waitForUID(ctx context.Context, client *http.Client, config *rest.Config, log logr.Logger) (string, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return "", fmt.Errorf("reading the API server's address: %w", err)
	}
	var waits backoff.Backoff
	for {
		uid, err := readUID(ctx, client, base.JoinPath(identityPath).String())
		if err == nil {
			return uid, nil
		}
		delay := waits.Next()
		if ctx.Err() == nil {
			log.Error(err, "Reading the identity of this cluster failed", "retryIn", delay.Round(time.Millisecond).String())
		}
		if !backoff.Sleep(ctx, delay) {
			return "", nil
		}
	}
}

func readUID(ctx context.Context, client *http.Client, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identityTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // what matters was read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the API server answered %s to a get of namespace kube-system: is the role of probe-tunnel in place?", resp.Status)
	}
	var object struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxIdentity)).Decode(&object); err != nil {
		return "", fmt.Errorf("reading namespace kube-system: %w", err)
	}
	if object.Metadata.UID == "" {
		return "", errors.New("namespace kube-system has no UID")
	}
	return object.Metadata.UID, nil
}
