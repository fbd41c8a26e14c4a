// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CheckerStatus is the verdict of a checker. The values have an order of severity: PASS, INFO, UNKNOWN, WARN, ERROR.
// UNKNOWN means that the check could not be made; it is neither healthy nor broken.
//
// +kubebuilder:validation:Enum=PASS;INFO;UNKNOWN;WARN;ERROR
type CheckerStatus string

// The verdicts, in rising severity.
const (
	CheckerPass    CheckerStatus = "PASS"
	CheckerInfo    CheckerStatus = "INFO"
	CheckerUnknown CheckerStatus = "UNKNOWN"
	CheckerWarn    CheckerStatus = "WARN"
	CheckerError   CheckerStatus = "ERROR"
)

const (
	// MaxCheckers bounds the checkers of one probe in one cluster.
	MaxCheckers = 1000
	// MaxMessageLength bounds a message, in characters.
	MaxMessageLength = 1024
	// MaxCheckerNameLength bounds the name of a checker, in characters.
	MaxCheckerNameLength = 253
)

// ParseCheckerStatus reads a status word in any case; ok is false for a word that is none.
func ParseCheckerStatus(word string) (status CheckerStatus, ok bool) {
	status = CheckerStatus(strings.ToUpper(strings.TrimSpace(word)))
	return status, status.Severity() >= 0
}

// Severity ranks a status from 0 (PASS) to 4 (ERROR); it is -1 for a word that is no status.
func (s CheckerStatus) Severity() int {
	switch s {
	case CheckerPass:
		return 0
	case CheckerInfo:
		return 1
	case CheckerUnknown:
		return 2
	case CheckerWarn:
		return 3
	case CheckerError:
		return 4
	default:
		return -1
	}
}

// Worst is the more severe of the two.
func (s CheckerStatus) Worst(other CheckerStatus) CheckerStatus {
	if other.Severity() > s.Severity() {
		return other
	}
	return s
}

// CheckerResult is what one checker said last.
type CheckerResult struct {
	// name identifies the checker within its probe.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// node is the node that the checker judged; absent when it judged the cluster as a whole.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node,omitempty"`

	// status is the verdict.
	// +required
	Status CheckerStatus `json:"status"`

	// message explains the verdict to a person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// lastRun is when the checker reached the verdict.
	// +optional
	LastRun *metav1.Time `json:"lastRun,omitempty"`

	// lastPass is when the checker last said PASS or INFO; absent when it never has.
	// +optional
	LastPass *metav1.Time `json:"lastPass,omitempty"`

	// runID is the run that the verdict is from. While a run is under way, results of the run before stand beside its own.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	RunID string `json:"runID,omitempty"`

	// consecutiveErrors counts the ERROR verdicts since the last other one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ConsecutiveErrors int32 `json:"consecutiveErrors,omitempty"`
}
