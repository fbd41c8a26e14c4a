// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report is the contract between a checker and the agent: the message that a checker posts, the rules that it
// must meet, the environment that a checker finds, and a client that posts it. It knows nothing of the agent's inside.
package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// MaxBytes bounds the body of one report.
const MaxBytes = 1 << 20

// Environment of every container of a checker.
const (
	// EnvProbeNamespace holds the namespace of the probe.
	EnvProbeNamespace = "KUBEPROBER_PROBE_NAMESPACE"
	// EnvProbeName holds the name of the probe.
	EnvProbeName = "KUBEPROBER_PROBE_NAME"
	// EnvReportURL holds the URL to post reports to. It is a capability: whoever knows it can report for this run.
	EnvReportURL = "KUBEPROBER_STATUS_REPORT_URL"
	// EnvRunID holds the ID of the run.
	EnvRunID = "KUBEPROBER_RUN_ID"
	// EnvRunDeadline holds the time at which the run is stopped, in RFC 3339.
	EnvRunDeadline = "KUBEPROBER_RUN_DEADLINE"
	// EnvNodeName holds the name of the node that the checker runs on.
	EnvNodeName = "NODE_NAME"
)

// Report is what a checker posts: one or more results of one probe. Results merge by the name of the checker.
type Report struct {
	// ProbeName is the probe that the results belong to. When present it must be the probe of the run.
	ProbeName string `json:"probeName,omitempty"`
	// ProbeNamespace is the namespace of that probe. When present it must be the namespace of the run.
	ProbeNamespace string `json:"probeNamespace,omitempty"`
	// Checkers holds 1 to 1000 results with distinct names.
	Checkers []Checker `json:"checkers"`
}

// Checker is the result of one checker.
type Checker struct {
	// Name identifies the checker within its probe, 1 to 253 characters.
	Name string `json:"name"`
	// Status is PASS, INFO, UNKNOWN, WARN or ERROR, in any case.
	Status kubeproberv1.CheckerStatus `json:"status"`
	// Message explains the status; one that is longer than 1024 characters is cut.
	Message string `json:"message,omitempty"`
	// LastRun is when the checker reached the verdict; absent means now.
	LastRun *metav1.Time `json:"lastRun,omitempty"`
}

// ErrTooLarge is returned for a body of more than MaxBytes.
var ErrTooLarge = fmt.Errorf("report is larger than %d bytes: send fewer or shorter results", MaxBytes)

// Decode reads, validates and normalises one report. The error tells the author of the checker what is wrong with it.
func Decode(body io.Reader) (*Report, error) {
	data, err := Read(body)
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// Read reads the body of one report, at most MaxBytes; ErrTooLarge says that there is more.
func Read(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	if len(data) > MaxBytes {
		return nil, ErrTooLarge
	}
	return data, nil
}

// Parse is Decode for a body that has been read.
func Parse(data []byte) (*Report, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	r := &Report{}
	if err := decoder.Decode(r); err != nil {
		return nil, fmt.Errorf("parsing report: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parsing report: something follows the JSON object")
	}
	if err := r.Normalize(); err != nil {
		return nil, fmt.Errorf("validating report: %w", err)
	}
	return r, nil
}

// Normalize checks the rules of a report and brings it into its one form: status words in upper case, messages of valid,
// printable text within their bound.
func (r *Report) Normalize() error {
	if len(r.Checkers) == 0 {
		return errors.New("checkers is empty: a report needs at least one result")
	}
	if len(r.Checkers) > kubeproberv1.MaxCheckers {
		return fmt.Errorf("%d checkers are more than %d", len(r.Checkers), kubeproberv1.MaxCheckers)
	}
	seen := make(map[string]bool, len(r.Checkers))
	for i := range r.Checkers {
		c := &r.Checkers[i]
		if err := c.normalize(); err != nil {
			return fmt.Errorf("checkers[%d]: %w", i, err)
		}
		if seen[c.Name] {
			return fmt.Errorf("checkers[%d]: checker %q stands twice", i, c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

func (c *Checker) normalize() error {
	c.Name = strings.TrimSpace(c.Name)
	if c.Name == "" {
		return errors.New("name is empty")
	}
	if n := utf8.RuneCountInString(c.Name); n > kubeproberv1.MaxCheckerNameLength {
		return fmt.Errorf("name has %d characters, more than %d", n, kubeproberv1.MaxCheckerNameLength)
	}
	if c.Name != CleanText(c.Name, kubeproberv1.MaxCheckerNameLength) {
		return fmt.Errorf("name %q has characters that cannot be printed", c.Name)
	}
	status, ok := kubeproberv1.ParseCheckerStatus(string(c.Status))
	if !ok {
		return fmt.Errorf("status %q of checker %q is none of PASS, INFO, UNKNOWN, WARN, ERROR", c.Status, c.Name)
	}
	c.Status = status
	c.Message = CleanText(c.Message, kubeproberv1.MaxMessageLength)
	if c.Message == "" && status != kubeproberv1.CheckerPass && status != kubeproberv1.CheckerInfo {
		c.Message = "the checker gave no message"
	}
	return nil
}

const ellipsis = "…"

// CleanText makes text safe to store and to show: invalid UTF-8 is replaced, control characters become spaces, so that no
// terminal sequence survives, white space at the ends goes, and what exceeds limit characters is cut and marked by an ellipsis.
func CleanText(text string, limit int) string {
	// Cut by bytes first: the text may be a megabyte, and no rune has more than four.
	if most := (limit + 1) * utf8.UTFMax; len(text) > most {
		text = text[:most]
	}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return ' '
		default:
			return r
		}
	}, text))
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + ellipsis
	}
	return text
}
