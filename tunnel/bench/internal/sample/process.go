// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"syscall"
	"time"
)

// ProcessorTime returns the time that the processors spent on this process so far, in user
// and kernel mode.
func ProcessorTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("asking for the process's resource usage: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
