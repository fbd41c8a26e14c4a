// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Environment that checkers written for Kuberhealthy find.
const (
	// EnvKuberhealthyURL holds the URL to post to, the same as EnvReportURL.
	EnvKuberhealthyURL = "KH_REPORTING_URL"
	// EnvKuberhealthyRunUUID holds the UUID of the run, which goes into the header KuberhealthyHeader.
	EnvKuberhealthyRunUUID = "KH_RUN_UUID"
	// EnvKuberhealthyDeadline holds the time at which the run is stopped, in Unix seconds.
	EnvKuberhealthyDeadline = "KH_CHECK_RUN_DEADLINE"
	// EnvKuberhealthyNamespace holds the namespace of the checker's pod.
	EnvKuberhealthyNamespace = "KH_POD_NAMESPACE"
)

// KuberhealthyHeader is the header of a Kuberhealthy report that holds the UUID of the run.
const KuberhealthyHeader = "kh-run-uuid"

// IsKuberhealthy tells by its shape whether a body is a report of Kuberhealthy's contract, {"ok":bool,"errors":[...]}, and not of
// ours. hasHeader tells that it came with KuberhealthyHeader, which decides for a body that has neither shape.
func IsKuberhealthy(data []byte, hasHeader bool) bool {
	var shape struct {
		OK       *json.RawMessage `json:"ok"`
		Checkers *json.RawMessage `json:"checkers"`
	}
	if err := json.Unmarshal(data, &shape); err != nil {
		return hasHeader
	}
	return shape.OK != nil || hasHeader && shape.Checkers == nil
}

// ParseKuberhealthy reads a report of Kuberhealthy's contract by the rules of its server: ok excludes errors, and what is not ok
// needs errors that are not blank. It becomes the result of one checker with the given name: PASS, or ERROR with the errors.
func ParseKuberhealthy(data []byte, name string) (*Report, error) {
	var body struct {
		OK       *bool            `json:"ok"`
		Errors   []string         `json:"errors"`
		Checkers *json.RawMessage `json:"checkers"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("parsing Kuberhealthy report: %w", err)
	}
	switch {
	case body.Checkers != nil:
		return nil, errors.New("validating Kuberhealthy report: the body holds both ok and checkers")
	case body.OK == nil:
		return nil, errors.New("validating Kuberhealthy report: ok is missing")
	case *body.OK && len(body.Errors) > 0:
		return nil, errors.New("validating Kuberhealthy report: ok is true, and there are errors")
	case !*body.OK && len(body.Errors) == 0:
		return nil, errors.New("validating Kuberhealthy report: ok is false, and there are no errors")
	}
	result := Checker{Name: name, Status: kubeproberv1.CheckerPass}
	if !*body.OK {
		result.Status = kubeproberv1.CheckerError
		texts := make([]string, 0, min(len(body.Errors), kubeproberv1.MaxMessageLength))
		for i, text := range body.Errors {
			text = CleanText(text, kubeproberv1.MaxMessageLength)
			if text == "" {
				return nil, fmt.Errorf("validating Kuberhealthy report: errors[%d] is blank", i)
			}
			// More than that cannot be seen in a message.
			if len(texts) < cap(texts) {
				texts = append(texts, text)
			}
		}
		result.Message = strings.Join(texts, "; ")
	}
	r := &Report{Checkers: []Checker{result}}
	if err := r.Normalize(); err != nil {
		return nil, fmt.Errorf("validating Kuberhealthy report: %w", err)
	}
	return r, nil
}
