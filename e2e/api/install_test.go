// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeprober/kubeprober/apis/crds"
)

func (s *server) kubectl(args ...string) (string, error) {
	kubectl := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	command := exec.Command(kubectl, append([]string{"--kubeconfig", s.kubeconfig}, args...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}

func (s *server) installCRDs() error {
	dir, err := os.MkdirTemp("", "crds-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.CopyFS(dir, crds.FS); err != nil {
		return fmt.Errorf("writing the CRDs: %w", err)
	}
	if _, err := s.kubectl("apply", "-f", dir); err != nil {
		return err
	}
	_, err = s.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", dir)
	return err
}

func TestPlainApplyLeavesRoomInTheAnnotation(t *testing.T) {
	names, err := fs.Glob(crds.FS, "*.yaml")
	if err != nil || len(names) != 4 {
		t.Fatalf("got CRDs %v, %v; want 4", names, err)
	}
	size, err := started.kubectl("get", "crd", "proberuns.kubeprober.erda.cloud", "-o",
		`jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(size) == 0 || len(size) > 200_000 {
		t.Errorf("the annotation has %d bytes, want some and at most 200000", len(size))
	}
}

func TestEveryFieldOfOursIsExplained(t *testing.T) {
	for _, field := range []string{
		"cluster.spec.extraInfo", "cluster.status.probes.staleTime", "probe.spec.policy.runInterval", "probe.spec.template",
		"probestatus.status.history.runID", "proberun.spec.probes.spec", "proberun.status.probes.checkers.status",
	} {
		output, err := started.kubectl("explain", field)
		if err != nil {
			t.Errorf("%s: %v", field, err)
		} else if strings.Contains(output, "DESCRIPTION:\n    <empty>") {
			t.Errorf("%s has no description:\n%s", field, output)
		}
	}
}

func TestEveryKindHasItsShortWays(t *testing.T) {
	output, err := started.kubectl("api-resources", "--categories=kubeprober", "--no-headers")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"clusters ", "kpc ", "probes ", "probestatuses ", "proberuns ", "kpr "} {
		if !strings.Contains(output, want) {
			t.Errorf("no %q in:\n%s", want, output)
		}
	}
}
