// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checker is the kit to write checkers in Go: it runs them at once within the time that the run has, turns what
// goes wrong into a truthful verdict, reports each verdict as soon as it is there, and cleans up whatever happens.
// It knows nothing of what is checked, and of the agent only the report contract.
//
// A checker says what it found with an error: nil is PASS, Broken is ERROR, Degraded is WARN, Noticed is INFO. Any other
// error is UNKNOWN, since an error that nobody has judged proves nothing about the cluster.
package checker
