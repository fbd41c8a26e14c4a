// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
)

// read reads one report of either contract, and tells its size in bytes; refusal says what is wrong with it.
func (r *Receiver) read(w http.ResponseWriter, request *http.Request, claims *capability.Claims) (body *report.Report, size int64, refusal *reply) {
	// The size is bounded once more by Read; this closes the connection of one that sends on.
	data, err := report.Read(http.MaxBytesReader(w, request.Body, report.MaxBytes+1))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, report.ErrTooLarge) || errors.As(err, &tooLarge):
		return nil, 0, &reply{code: http.StatusRequestEntityTooLarge, message: report.ErrTooLarge.Error()}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, 0, &reply{code: http.StatusRequestTimeout, message: fmt.Sprintf("the report took longer than %s to arrive", readTimeout)}
	case err != nil:
		return nil, 0, &reply{code: http.StatusBadRequest, message: err.Error()}
	}
	uuid := request.Header.Get(report.KuberhealthyHeader)
	if report.IsKuberhealthy(data, uuid != "") {
		body, err = parseKuberhealthy(data, uuid, claims)
	} else {
		body, err = report.Parse(data)
	}
	if err != nil {
		return nil, 0, &reply{code: http.StatusBadRequest, message: err.Error()}
	}
	if body.ProbeName != "" && body.ProbeName != claims.Probe || body.ProbeNamespace != "" && body.ProbeNamespace != claims.Namespace {
		return nil, 0, &reply{code: http.StatusForbidden, message: fmt.Sprintf(
			"the report is for probe %q in namespace %q, and the run is one of probe %q in namespace %q",
			report.CleanText(body.ProbeName, maxNamed), report.CleanText(body.ProbeNamespace, maxNamed), claims.Probe, claims.Namespace)}
	}
	return body, int64(len(data)), nil
}

// maxNamed bounds what an answer repeats of a name.
const maxNamed = 253

// parseKuberhealthy takes a report of Kuberhealthy's contract. The capability has let it in; the UUID must be that of the run all
// the same, as Kuberhealthy would have it.
func parseKuberhealthy(data []byte, uuid string, claims *capability.Claims) (*report.Report, error) {
	if uuid == "" {
		return nil, fmt.Errorf("validating Kuberhealthy report: the header %s is missing: send the value of %s",
			report.KuberhealthyHeader, report.EnvKuberhealthyRunUUID)
	}
	if subtle.ConstantTimeCompare([]byte(strings.ToLower(uuid)), []byte(run.UUID(claims.RunID))) != 1 {
		return nil, fmt.Errorf("validating Kuberhealthy report: the header %s is not of run %s: send the value of %s",
			report.KuberhealthyHeader, claims.RunID, report.EnvKuberhealthyRunUUID)
	}
	return report.ParseKuberhealthy(data, claims.Probe)
}
