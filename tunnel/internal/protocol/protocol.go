// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package protocol holds what both ends of a tunnel must agree on: header names, the
// connect path, target names, the preface of a stream and the form of a cluster name. It
// knows nothing of connections.
package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ConnectPath is where the hub takes tunnels.
const ConnectPath = "/clusteragent/connect"

// Headers of an agent's requests to the hub.
const (
	HeaderCluster = "X-Cluster-Name"
	HeaderSecret  = "Secret-Key"
	HeaderUID     = "X-Cluster-Uid"
	HeaderVersion = "X-Agent-Version"
)

// Network and KubeAPI are the one destination that the hub may open streams to. Agents
// refuse every other, so no address from the wire is ever dialled.
const (
	Network = "tcp"
	KubeAPI = "kubeapi"
)

// Window is how many wire bytes of one stream may be under way or unread in each
// direction at first, and MaxWindow how many when the way is long.
const (
	Window    = 1 << 20
	MaxWindow = 32 << 20
)

// Preface is the first line that an agent sends on a stream that it accepted. Opening a
// stream is not acknowledged by remotedialer itself.
const Preface = "kubeprober-stream/2\n"

const (
	refusalStart = "kubeprober-refused/2 "
	maxPreface   = 256
)

// Refusal is the first and only line on a stream that an agent refused, with the reason.
// (remotedialer's own way to refuse a stream races with the answer to it.)
func Refusal(reason string) string {
	reason = strings.ReplaceAll(reason, "\n", " ")
	return refusalStart + reason[:min(len(reason), maxPreface-len(refusalStart)-1)] + "\n"
}

// RefusedError is the reason that an agent gave.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the agent refused the stream: " + e.Reason }

// ErrPreface is returned for an answer that is not the preface.
var ErrPreface = errors.New("the answer is not a stream preface")

// ParsePreface parses the beginning of a stream. It returns what comes after the preface,
// which is not nil, or nil when the preface is not complete. Its errors are a *RefusedError
// or ErrPreface.
func ParsePreface(b []byte) (rest []byte, err error) {
	line, rest, complete := bytes.Cut(b, []byte{'\n'})
	reason, refused := bytes.CutPrefix(line, []byte(refusalStart))
	switch {
	case complete && string(line)+"\n" == Preface:
		return rest, nil
	case complete && refused && len(line) < maxPreface:
		return nil, &RefusedError{Reason: strings.ToValidUTF8(string(reason), "?")}
	case complete || len(b) >= maxPreface || !refused && !couldBecome(line):
		return nil, ErrPreface
	}
	return nil, nil
}

// couldBecome tells whether line is the beginning of one of the known lines.
func couldBecome(line []byte) bool {
	return strings.HasPrefix(Preface, string(line)) || strings.HasPrefix(refusalStart, string(line))
}

const maxLabel = 63

// CheckClusterName tells why name cannot be a cluster's name: it must be a DNS label.
func CheckClusterName(name string) error {
	if name == "" {
		return errors.New("the cluster name is empty")
	}
	if len(name) > maxLabel {
		return fmt.Errorf("the cluster name is %d characters long, at most %d are allowed", len(name), maxLabel)
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' || i == 0 || i == len(name)-1) {
			return fmt.Errorf("the cluster name %q is not a DNS label: only a-z, 0-9 and '-' are allowed, and no '-' at either end", name)
		}
	}
	return nil
}

const maxUID = 64

// CheckUID tells why uid cannot be the UID of a cluster: 1 to 64 letters, digits and '-'.
func CheckUID(uid string) error {
	if uid == "" {
		return errors.New("the cluster UID is empty")
	}
	if len(uid) > maxUID {
		return fmt.Errorf("the cluster UID is %d characters long, at most %d are allowed", len(uid), maxUID)
	}
	for i := range len(uid) {
		c := uid[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("the cluster UID %q has characters other than letters, digits and '-'", uid)
		}
	}
	return nil
}
