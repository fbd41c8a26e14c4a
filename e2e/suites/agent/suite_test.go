// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent runs the specs of an agent without a master on one kind cluster with two nodes.
package agent

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kubeprober/kubeprober/e2e/framework"
	"github.com/kubeprober/kubeprober/e2e/specs"
)

// perSpec bounds one spec, so that one that hangs does not use up the time of all.
const perSpec = 6 * time.Minute

func TestAgent(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The agent on two nodes")
}

var (
	workspace *framework.Workspace
	in        specs.Input
)

func input() specs.Input { return in }

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	workspace, err = framework.OpenWorkspace(ctx)
	Expect(err).NotTo(HaveOccurred())
	images, err := workspace.Images(ctx, "agent", "probers")
	Expect(err).NotTo(HaveOccurred())
	in = specs.Input{
		Tag:     framework.TagOf(images[0]),
		Samples: filepath.Join(workspace.Root, "probers", "config", "samples"),
	}
	clusters, err := workspace.CreateClusters(ctx, framework.Wanted{
		Name: "kp-e2e-agent", Images: append(images, in.TestImages()...),
		Workers: 1, KindConfig: "e2e/suites/agent/kind.yaml",
	})
	DeferCleanup(func(ctx SpecContext) { Expect(workspace.DeleteClusters(ctx, clusters...)).To(Succeed()) }, NodeTimeout(perSpec))
	Expect(err).NotTo(HaveOccurred())
	in.Managed = clusters[0]
}, NodeTimeout(15*time.Minute))

var _ = ReportAfterSuite("durations", func(report Report) { fmt.Print(framework.Durations(report)) })

// The faults are started first and looked at later: some take a minute to be sure. Those of a node come last; they need all of it.
var _ = Describe("The agent", Ordered, ContinueOnFailure, func() {
	JustAfterEach(func(ctx SpecContext) { workspace.DumpOnFailure(ctx, in.Managed) })

	Context("is installed", func() { specs.InstallStandalone(input) })
	Context("meets faults", func() { specs.StartFaults(input) })
	Context("takes checkers as they are", func() { specs.Contracts(input) })
	Context("takes checkers written from the documentation", func() { specs.Languages(input) })
	Context("damps", func() { specs.Damping(input) })
	Context("deletes", func() { specs.DeleteProbes(input) })
	Context("knows the reason", func() { specs.Reasons(input) })
	Context("is measured", func() { specs.Metrics(input) })
	Context("contains probes", func() { specs.PodSecurity(input) })
	Context("goes to every node", func() { specs.EveryNode(input) })
	Context("crashes", func() { specs.Crashes(input) })
})
