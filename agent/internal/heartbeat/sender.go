// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heartbeat tells the master how this cluster is: the whole state every 30 seconds, and within a second of a change. It
// reads what others have written and knows nothing of how it came about.
package heartbeat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	"github.com/kubeprober/kubeprober/apis/report"
)

const (
	// settleTime is how long changes are gathered before they are sent together.
	settleTime = 200 * time.Millisecond
	// requestTimeout bounds one heartbeat.
	requestTimeout = 10 * time.Second
	// firstBackoff is doubled with each failure, up to the interval; the wait is drawn between nothing and that.
	firstBackoff = time.Second
	maxAnswer    = 4096
)

// Config says where heartbeats go, and who they are from.
type Config struct {
	// MasterURL is the address of the master's hub: scheme, host and port.
	MasterURL *url.URL
	// MasterCA verifies the master's certificate; nil means the system's roots.
	MasterCA *x509.CertPool
	// ClusterName and Secret authenticate the cluster.
	ClusterName, Secret string
	// ClusterUID is the UID of the kube-system namespace.
	ClusterUID string
}

// StateFunc reads the state that is to be told.
type StateFunc func(ctx context.Context) (*heartbeat.Heartbeat, error)

// Sender sends heartbeats. It is the one goroutine that runs Start.
type Sender struct {
	config  Config
	state   StateFunc
	changed <-chan struct{}
	client  *http.Client
	log     logr.Logger

	// sent is the newest heartbeat that the master has taken; only Start uses what follows.
	sent     []byte
	failures int
	// trouble is the failure that was logged last, so that one that lasts is logged once.
	trouble string
}

// NewSender makes a sender. A value on changed says that the state may have changed.
func NewSender(config Config, state StateFunc, changed <-chan struct{}, log logr.Logger) *Sender {
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: config.MasterCA, MinVersion: tls.VersionTLS12},
		MaxIdleConns:    1, IdleConnTimeout: 2 * heartbeat.Interval, ResponseHeaderTimeout: requestTimeout,
	}
	return &Sender{
		config: config, state: state, changed: changed, log: log,
		client: &http.Client{
			Transport: transport, Timeout: requestTimeout,
			// The secret goes to the master and to nobody that it may point at.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// NeedLeaderElection is true: one replica speaks for the cluster.
func (s *Sender) NeedLeaderElection() bool { return true }

// Start sends heartbeats until the context ends.
func (s *Sender) Start(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	next, settle := time.NewTimer(0), time.NewTimer(settleTime)
	defer next.Stop()
	defer settle.Stop()
	settle.Stop()
	changed := s.changed
	for {
		onlyNews := false
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			// More changes come soon after one; they go together.
			changed = nil
			settle.Reset(settleTime)
			continue
		case <-settle.C:
			onlyNews = true
		case <-next.C:
			settle.Stop()
		}
		changed = s.changed
		drain(changed)
		switch s.beat(ctx, onlyNews) {
		case beatSent:
			next.Reset(jitter(heartbeat.Interval))
		case beatFailed:
			// Changes wait: a master in trouble is not to be hurried.
			changed = nil
			next.Reset(s.backoff())
		case beatNotNeeded:
		}
	}
}

func drain(changed <-chan struct{}) {
	select {
	case <-changed:
	default:
	}
}

// jitter draws from 90% to 110% of an interval, so that the agents of a fleet do not come to beat together.
func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// backoff draws from nothing to a bound that doubles with each failure.
func (s *Sender) backoff() time.Duration {
	most := min(firstBackoff<<min(s.failures, 10), heartbeat.Interval)
	return rand.N(most)
}

type beatResult int

const (
	beatSent beatResult = iota
	beatNotNeeded
	beatFailed
)

// beat sends the state. With onlyNews it sends nothing that the master has already.
func (s *Sender) beat(ctx context.Context, onlyNews bool) beatResult {
	body, err := s.encode(ctx)
	if err == nil {
		if onlyNews && bytes.Equal(body, s.sent) {
			return beatNotNeeded
		}
		err = s.send(ctx, body)
	}
	if ctx.Err() != nil {
		return beatNotNeeded
	}
	if err != nil {
		s.failures++
		s.complain(err)
		return beatFailed
	}
	if s.failures > 0 || s.sent == nil {
		s.log.Info("Master takes heartbeats", "master", s.config.MasterURL.Host)
	}
	s.failures, s.trouble, s.sent = 0, "", body
	return beatSent
}

// complain logs a failure unless the one before it was of the same kind.
func (s *Sender) complain(err error) {
	kind := "unreachable"
	var said *answerError
	if errors.As(err, &said) {
		kind = said.Error()
	}
	if kind == s.trouble {
		return
	}
	s.trouble = kind
	s.log.Error(err, "Heartbeat cannot be sent, trying on", "master", s.config.MasterURL.Host)
}

func (s *Sender) encode(ctx context.Context) ([]byte, error) {
	beat, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(beat)
	if err != nil {
		return nil, fmt.Errorf("encoding heartbeat: %w", err)
	}
	return body, nil
}

func (s *Sender) send(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.MasterURL.JoinPath(heartbeat.Path).String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making heartbeat request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(heartbeat.ClusterHeader, s.config.ClusterName)
	request.Header.Set(heartbeat.SecretHeader, s.config.Secret)
	request.Header.Set(heartbeat.ClusterUIDHeader, s.config.ClusterUID)
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("posting heartbeat: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the master's answer: %w", err)
	}
	return judge(response, string(said))
}

// answerError is an answer of the master that is no consent.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string {
	switch {
	case e.code == http.StatusForbidden || e.code == http.StatusUnauthorized:
		return fmt.Sprintf("the master refuses this cluster (%d): %s", e.code, e.text)
	case e.code < 400:
		return fmt.Sprintf("the master redirects (%d), which is not followed: correct probe_master_addr", e.code)
	default:
		return fmt.Sprintf("the master answers %d: %s", e.code, e.text)
	}
}

func judge(response *http.Response, said string) error {
	if response.StatusCode < 300 {
		return nil
	}
	return &answerError{code: response.StatusCode, text: strings.TrimSpace(report.CleanText(said, 512))}
}
