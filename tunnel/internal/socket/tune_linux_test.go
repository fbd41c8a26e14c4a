// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheKernelIsToldWhenAPeerIsDead(t *testing.T) {
	for _, wrap := range []func(net.Conn) net.Conn{
		func(c net.Conn) net.Conn { return c },
		func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{ServerName: "x"}) },
	} {
		near, _ := dial(t)
		if err := Tune(wrap(near), 12*time.Second); err != nil {
			t.Fatal(err)
		}
		raw, err := asTCP(near).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for option, want := range map[int]int{unix.TCP_USER_TIMEOUT: 12000, unix.TCP_KEEPIDLE: 6, unix.TCP_KEEPINTVL: 3, unix.TCP_KEEPCNT: 3} {
			var got int
			var failed error
			if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			if got != want {
				t.Errorf("TCP option %d is %d, want %d", option, got, want)
			}
		}
	}
}
