// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/probers/checker"
)

// afterDeadline is how long after the deadline a late report comes. A pod has 30 seconds from the deadline until it is killed.
const afterDeadline = 2 * time.Second

// misreport posts what a checker must not post, and prints what the agent answers.
func (d *Demo) misreport(ctx context.Context, stdout, stderr io.Writer) int {
	answer, err := d.post(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "error: %v\n", err)
		return checker.ExitNotReported
	}
	_, _ = fmt.Fprintf(stdout, "%s: the agent answered %s\n", d.mode, answer)
	return checker.ExitReported
}

func (d *Demo) post(ctx context.Context) (answer string, err error) {
	target := os.Getenv(report.EnvReportURL)
	if target == "" {
		return "", fmt.Errorf("%s is not set: the demo runs in a pod that the agent made", report.EnvReportURL)
	}
	probe := os.Getenv(report.EnvProbeName)
	switch d.mode {
	case ModeGarbage:
		return send(ctx, target, []byte(`{"checkers": [{"name": 7`))
	case ModeForeign:
		probe = d.foreign
	case ModeForged:
		target = forge(target)
	case ModeLate:
		deadline, err := checker.Deadline()
		if err != nil {
			return "", err
		}
		if deadline.IsZero() {
			return "", fmt.Errorf("%s is not set: there is no deadline to miss", report.EnvRunDeadline)
		}
		// The run's SIGTERM comes with the deadline; being late means to disregard it.
		ctx = context.WithoutCancel(ctx)
		if err := pause(ctx, time.Until(deadline)+afterDeadline); err != nil {
			return "", err
		}
	}
	body, err := json.Marshal(report.Report{
		ProbeName: probe, ProbeNamespace: os.Getenv(report.EnvProbeNamespace),
		Checkers: []report.Checker{{Name: d.name, Status: d.status, Message: d.message}},
	})
	if err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	return send(ctx, target, body)
}

// forge changes the end of the path or of the query, wherever the capability is.
func forge(target string) string {
	last := target[len(target)-1:]
	other := "0"
	if last == other {
		other = "1"
	}
	return strings.TrimSuffix(target, last) + other
}

func send(ctx context.Context, target string, body []byte) (answer string, err error) {
	client := &http.Client{Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body)) //nolint:gosec // The agent gave the URL.
	if err != nil {
		return "", fmt.Errorf("%s is no URL", report.EnvReportURL)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request) //nolint:gosec // The agent gave the URL.
	if err != nil {
		// The error of the http package repeats the URL, which is a capability.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return "", fmt.Errorf("posting to the agent: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("reading the agent's answer: %w", err)
	}
	return response.Status + ": " + report.CleanText(string(text), 512), nil
}
