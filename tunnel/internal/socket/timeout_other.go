// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package socket

import (
	"net"
	"time"
)

// Without TCP_USER_TIMEOUT the tunnel's own idle limit has to do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
