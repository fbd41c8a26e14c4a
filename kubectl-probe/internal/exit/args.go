// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package exit

import "github.com/spf13/cobra"

// NoArgs makes positional arguments a usage error.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return New(Usage, "%s takes no arguments, only flags: %q is not understood", cmd.CommandPath(), args[0]).
		Then(cmd.CommandPath() + " --help")
}
