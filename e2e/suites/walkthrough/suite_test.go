// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package walkthrough runs all specs on three kind clusters: a master, the managed cluster of the walkthrough, and a spare one.
package walkthrough

import (
	"fmt"
	"net"
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

func TestWalkthrough(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Kubeprober on three clusters")
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
	master, err := workspace.Images(ctx, "master")
	Expect(err).NotTo(HaveOccurred())
	managed, err := workspace.Images(ctx, "agent", "tunnel", "probers")
	Expect(err).NotTo(HaveOccurred())

	clusters, err := workspace.CreateClusters(ctx,
		framework.Wanted{Name: "kp-e2e-master", Images: master},
		framework.Wanted{Name: "kp-e2e-managed", Images: managed},
		framework.Wanted{Name: "kp-e2e-spare", Images: managed},
	)
	DeferCleanup(func(ctx SpecContext) { Expect(workspace.DeleteClusters(ctx, clusters...)).To(Succeed()) }, NodeTimeout(perSpec))
	Expect(err).NotTo(HaveOccurred())
	secret, err := workspace.Secret()
	Expect(err).NotTo(HaveOccurred())
	in = specs.Input{
		Master: clusters[0], Managed: clusters[1], Spare: clusters[2],
		ManagedName: "erda-cloud", SpareName: "edge-2",
		MasterAddress: "http://" + net.JoinHostPort(clusters[0].NodeIP, "30088"),
		Secret:        secret,
		Tag:           framework.TagOf(master[0]),
		Samples:       filepath.Join(workspace.Root, "probers", "config", "samples"),
	}
}, NodeTimeout(15*time.Minute))

var _ = ReportAfterSuite("durations", func(report Report) { fmt.Print(framework.Durations(report)) })

// Each subject finds the clusters as the one before left them: installing is a spec, and clusters are dear.
var _ = Describe("Kubeprober", Ordered, ContinueOnFailure, func() {
	JustAfterEach(func(ctx SpecContext) { workspace.DumpOnFailure(ctx, in.Master, in.Managed, in.Spare) })

	Context("installs", func() { specs.Install(input) })
	Context("walkthrough", func() { specs.Walkthrough(input) })
	Context("credentials", func() { specs.Security(input) })
	Context("the account of checkers", func() { specs.Worker(input) })
	Context("gateway", func() { specs.Gateway(input) })
	Context("master address", func() { specs.MasterAddress(input) })
	Context("attachment", func() { specs.Attachment(input) })
	Context("probes that cannot judge", func() { specs.Failing(input) })
	Context("restarts", func() { specs.Restart(input) })
	Context("standalone", func() { specs.Standalone(input) })
	Context("identity", func() { specs.Identity(input) })
	Context("deletion", func() { specs.Deletion(input) })
	Context("uninstalls", func() { specs.Uninstall(input) })
})
