// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command report-status reports the result of a checker that is a script:
//
//	report-status --name NAME --status pass|info|warn|error|unknown [--message TEXT]
//	some-checker | report-status --stdin
//
// Its exit status is 0 when everything was reported, 2 when it could not be, 64 when it was called wrongly or a line of the
// input is no result.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
