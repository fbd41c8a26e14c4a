// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// RunVerdict is the error, with its exit code, that a run ends a command with; nil when it is good enough. A run that has
// not finished is incomplete, whatever --fail-on says.
func (f FailOn) RunVerdict(run *kubeproberv1.ProbeRun) error {
	phase := Phase(run)
	if !phase.Finished() {
		return exit.New(exit.Incomplete, "run %s is %s", run.Name, phase)
	}
	if err := f.Verdict(Count(FromRun(run))); err != nil || f == FailNever {
		return err
	}
	// The phase is what the cluster made of the run. The rows may say less: a run that was refused has none.
	why := ""
	if reason := WaitsFor(run); reason != "" {
		why = ": " + reason
	}
	switch phase {
	case kubeproberv1.RunFailed:
		return exit.New(exit.Failed, "run %s failed%s", run.Name, why)
	case kubeproberv1.RunIncomplete:
		return exit.New(exit.Incomplete, "run %s could not be completed%s", run.Name, why)
	default:
		return nil
	}
}
