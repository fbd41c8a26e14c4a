// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/probers/checker"
)

const (
	// askAttempt bounds one request through the Service.
	askAttempt = 5 * time.Second
	// maxAskTime bounds all requests to one address: nodes need a moment to learn of the endpoints of a new Service.
	maxAskTime = time.Minute
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func plainDial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// ask requests a page through the Service, by its address and by its name.
func (c *deploymentCheck) ask(ctx context.Context, service *corev1.Service, image checkImage) error {
	client := &http.Client{
		// No proxy of the environment, and no connection that outlives the check.
		Transport:     &http.Transport{DialContext: c.dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       askAttempt,
	}
	defer client.CloseIdleConnections()
	port := strconv.Itoa(int(c.config.servicePort))
	byAddress := "http://" + net.JoinHostPort(service.Spec.ClusterIP, port) + "/"
	if err := c.askUntil(ctx, client, byAddress, image); err != nil {
		return fmt.Errorf("the replicas are available, but Service %s does not answer: %w", c.service, err)
	}
	byName := "http://" + net.JoinHostPort(c.service+"."+c.identity.namespace+".svc", port) + "/"
	if err := c.askUntil(ctx, client, byName, image); err != nil {
		return fmt.Errorf("the Service answers by its address, but not by its name: %w", err)
	}
	return nil
}

// askUntil asks until the answer is right. No event tells when the last node routes to a new Service, so it asks again.
func (c *deploymentCheck) askUntil(ctx context.Context, client *http.Client, address string, image checkImage) error {
	started := time.Now()
	asking, cancel := context.WithTimeout(ctx, c.askTime)
	defer cancel()
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 1.6, Jitter: 0.2, Cap: 3 * time.Second, Steps: 1 << 20}
	var last error
	err := wait.ExponentialBackoffWithContext(asking, backoff, func(ctx context.Context) (bool, error) {
		if err := c.askOnce(ctx, client, address, image); err != nil {
			// The end of the time says less than what went wrong before it.
			if last == nil || asking.Err() == nil {
				last = err
			}
			return false, nil
		}
		return true, nil
	})
	switch waited := time.Since(started); {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return checker.NotChecked("the run was stopped while asking %s", address)
	case ctx.Err() != nil && waited < c.askTime/2 || last == nil:
		return checker.NotChecked("there was too little time left to ask %s: %w", address, errors.Join(ctx.Err(), last))
	default:
		return checker.Broken("%w, for %s", last, waited.Round(100*time.Millisecond))
	}
}

func (c *deploymentCheck) askOnce(ctx context.Context, client *http.Client, address string, image checkImage) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	if image.own && strings.TrimSpace(string(body)) != c.identity.instance {
		return fmt.Errorf("something else answers at %s", address)
	}
	return nil
}
