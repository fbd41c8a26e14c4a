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
	"io"
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
// direction. It stays well below 2 MiB: there remotedialer pauses the sender, and a pause
// can lose its wake-up.
const Window = 1 << 20

// Preface is the first line that an agent sends on a stream that it accepted. Opening a
// stream is not acknowledged by remotedialer itself.
const Preface = "kubeprober-stream/1\n"

// ErrPreface is returned for an answer that is not the preface.
var ErrPreface = errors.New("the answer is not a stream preface")

// ReadPreface reads the preface from r and returns what r gave beyond it. Its errors are
// ErrPreface, or what r returned.
func ReadPreface(r io.Reader) (rest []byte, err error) {
	buf := make([]byte, 0, 256)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) >= len(Preface) {
			rest, ok := bytes.CutPrefix(buf, []byte(Preface))
			if !ok {
				return nil, ErrPreface
			}
			return rest, nil
		}
		if !strings.HasPrefix(Preface, string(buf)) {
			return nil, ErrPreface
		}
		if err != nil {
			return nil, err
		}
	}
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
