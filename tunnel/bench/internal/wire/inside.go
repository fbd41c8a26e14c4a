// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ErrNoNamespace tells that the system lets this process make no network namespace.
var ErrNoNamespace = errors.New("making a network namespace failed")

// Run runs this program again with args, in a network namespace of its own whose
// administrator it is: as root in a new namespace, otherwise in a new user namespace too. It
// is to call Loopback first. Its input and output are those of this process, and it is
// interrupted when ctx ends. The error is ErrNoNamespace, or tells how it ended.
func Run(ctx context.Context, args ...string) error {
	// The kernel ends the child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var errs []error
	for _, attributes := range []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNET},
		{
			Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	} {
		attributes.Pdeathsig = syscall.SIGKILL
		cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = attributes
		err := cmd.Start()
		if err == nil {
			return cmd.Wait()
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%w: it takes root, or user namespaces that anyone may make (user.max_user_namespaces): %w", ErrNoNamespace, errors.Join(errs...))
}

// Loopback brings up the loopback device of a new network namespace.
func Loopback() error {
	return withSocket(func(fd int) error { return bringUp(fd, "lo") })
}
