// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Errors of Client.Send that tell why a report can never be taken.
var (
	// ErrRunOver is returned when the run has finished or its deadline has passed.
	ErrRunOver = errors.New("the run is over")
	// ErrNotAllowed is returned when the URL is no capability of a run.
	ErrNotAllowed = errors.New("the report URL is not valid")
	// ErrInvalid is returned when the agent found the report to be invalid.
	ErrInvalid = errors.New("the report is invalid")
)

const (
	// dialTimeout bounds connecting to the agent.
	dialTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept for the next report; the agent keeps it a little longer.
	idleTimeout = 25 * time.Second
	// answerTimeout bounds one attempt. It is longer than the agent holds a report while the API server is away.
	answerTimeout = 90 * time.Second
)

// Client posts reports to the agent.
type Client struct {
	url       string
	probe     string
	namespace string
	deadline  time.Time
	backoff   wait.Backoff
	http      *http.Client
}

// NewClient makes a client for a report URL. A zero deadline means that only the context bounds a Send.
func NewClient(reportURL, namespace, probe string, deadline time.Time) (*Client, error) {
	u, err := url.Parse(reportURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		// The URL is a capability, so the error does not repeat it.
		return nil, fmt.Errorf("%s is no http or https URL", EnvReportURL)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: idleTimeout,
	}
	return &Client{
		url: reportURL, probe: probe, namespace: namespace, deadline: deadline,
		backoff: wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 10 * time.Second, Steps: math.MaxInt32},
		http:    &http.Client{Timeout: answerTimeout, Transport: transport},
	}, nil
}

// NewClientFromEnvironment makes a client from the environment that the agent gives to every checker.
func NewClientFromEnvironment() (*Client, error) {
	reportURL := os.Getenv(EnvReportURL)
	if reportURL == "" {
		return nil, fmt.Errorf("%s is not set: a checker runs in a pod that the agent made", EnvReportURL)
	}
	var deadline time.Time
	if text := os.Getenv(EnvRunDeadline); text != "" {
		var err error
		if deadline, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("parsing %s: %w", EnvRunDeadline, err)
		}
	}
	return NewClient(reportURL, os.Getenv(EnvProbeNamespace), os.Getenv(EnvProbeName), deadline)
}

// Send posts the results and returns once the agent has taken them. While the agent cannot be reached or is not able to
// take them, it tries again with backoff, until ctx ends or the deadline of the run passes. ErrRunOver, ErrNotAllowed and
// ErrInvalid are final.
func (c *Client) Send(ctx context.Context, checkers ...Checker) error {
	r := Report{ProbeName: c.probe, ProbeNamespace: c.namespace, Checkers: checkers}
	if err := r.Normalize(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding report: %w", err)
	}
	if !c.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.deadline)
		defer cancel()
	}
	var last error
	// Not ExponentialBackoff, which gives up when the delay has reached its cap.
	err = c.backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		var final bool
		final, last = c.post(ctx, body)
		if final {
			return true, last
		}
		return last == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("sending report: %w", last)
	}
	if err != nil {
		return fmt.Errorf("sending report: %w", err)
	}
	return nil
}

// post makes one attempt; final tells that another one cannot end differently.
func (c *Client) post(ctx context.Context, body []byte) (final bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return true, errors.New("making the request failed")
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		// The error of the http package repeats the URL, which is a capability.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return false, fmt.Errorf("posting to the agent: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return false, fmt.Errorf("reading the agent's answer: %w", err)
	}
	text := strings.TrimSpace(CleanText(string(said), 512))
	switch code := response.StatusCode; {
	case code < 300:
		return true, nil
	case code == http.StatusGone:
		return true, fmt.Errorf("%w: %s", ErrRunOver, text)
	case code == http.StatusForbidden || code == http.StatusUnauthorized || code == http.StatusNotFound:
		return true, fmt.Errorf("%w: %s", ErrNotAllowed, text)
	case code == http.StatusTooManyRequests || code >= 500:
		return false, fmt.Errorf("the agent answered %d: %s", code, text)
	default:
		return true, fmt.Errorf("%w: the agent answered %d: %s", ErrInvalid, code, text)
	}
}
