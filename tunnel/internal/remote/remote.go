// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remote holds the process-wide settings of the remotedialer library. It knows
// nothing of tunnels.
package remote

import (
	"sync"

	"github.com/rancher/remotedialer"
	"github.com/sirupsen/logrus"
)

var once sync.Once

// Harden turns off remotedialer's payload dump, which an environment variable can switch
// on, and its own log lines, which name neither cluster nor cause: both ends log what
// happens to a tunnel themselves.
func Harden() {
	once.Do(func() {
		remotedialer.PrintTunnelData = false
		logrus.SetLevel(logrus.PanicLevel)
	})
}
