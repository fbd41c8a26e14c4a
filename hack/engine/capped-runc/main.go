// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command capped-runc is an OCI runtime that asks runc for no more capabilities than this machine can give.
//
// A machine whose bounding set lacks a capability (many virtual machines withhold CAP_SYS_RESOURCE) refuses
// `docker run --privileged`, which asks for all of them; kind's nodes are such containers. capped-runc takes the missing
// ones out of the OCI configuration and then becomes runc. It knows nothing of Docker or Kubernetes.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/capability"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "capped-runc:", err)
		os.Exit(1)
	}
}

// run edits the configuration that args name, if any, and replaces this process by runc with the same args.
// It returns only on an error.
func run(args []string) error {
	target, ok := configOf(args)
	if ok {
		available, err := boundingSet()
		if err != nil {
			return fmt.Errorf("reading the bounding set: %w", err)
		}
		if err := capFile(target, available); err != nil {
			return err
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("finding runc: %w", err)
	}
	return fmt.Errorf("executing %s: %w", runc, syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ()))
}

// configOf returns the file that tells runc the capabilities of the process that args start: the bundle's config.json
// for create and run, the process file for exec. It is false for every other command.
func configOf(args []string) (string, bool) {
	for i, arg := range args {
		switch arg {
		case "create", "run":
			bundle, ok := flagValue(args[i+1:], "bundle", "b")
			if !ok {
				bundle = "."
			}
			return filepath.Join(bundle, "config.json"), true
		case "exec":
			return flagValue(args[i+1:], "process", "p")
		}
	}
	return "", false
}

// flagValue finds a flag in the forms that runc's flag parser takes: one or two dashes, with = or a space.
func flagValue(args []string, names ...string) (string, bool) {
	for i, arg := range args {
		if arg == "--" {
			return "", false
		}
		name, value, joined := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || !slices.Contains(names, name) {
			continue
		}
		if joined {
			return value, true
		}
		if i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

// boundingSet returns the names, as OCI spells them (CAP_SYS_ADMIN), of the capabilities that this process may pass on.
func boundingSet() (map[string]bool, error) {
	self, err := capability.NewPid2(0)
	if err != nil {
		return nil, err
	}
	if err := self.Load(); err != nil {
		return nil, err
	}
	available := map[string]bool{}
	for _, c := range capability.ListKnown() {
		if self.Get(capability.BOUNDING, c) {
			available["CAP_"+strings.ToUpper(c.String())] = true
		}
	}
	if len(available) == 0 {
		return nil, errors.New("it is empty: no container can start")
	}
	return available, nil
}
