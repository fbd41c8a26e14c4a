// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import "golang.org/x/sys/unix"

// pollWritable asks the kernel whether a write of a few KiB to fd is taken at once: it
// says so only while a good part of the connection's send buffer is free.
func pollWritable(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n == 1 && fds[0].Revents == unix.POLLOUT
}
