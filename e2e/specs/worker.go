// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// workerDeployment is a Deployment of a checker whose pods have the given lines in their spec.
const workerDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: intruder, namespace: %s, labels: {kubeprober.erda.cloud/run-id: a-1}}
spec:
  selector: {matchLabels: {app: intruder}}
  template:
    metadata: {labels: {app: intruder}}
    spec:
      automountServiceAccountToken: %t
      containers: [{name: c, image: i%s}]
      %s
`

// Worker is about what the service accounts of checkers, that of elevated ones included, can reach beyond their own checks: nothing.
func Worker(input func() Input) {
	for _, home := range []string{namespace, elevatedNamespace} {
		Context("in namespace "+home, func() { workerOf(input, "--as=system:serviceaccount:"+home+":kubeprober-worker") })
	}

	It("keeps checkers from making anything where elevated pods are admitted", func(ctx SpecContext) {
		for _, home := range []string{namespace, elevatedNamespace} {
			for _, kind := range []string{"pods", "deployments", "jobs", "services"} {
				answer := input().Managed.Kubectl("auth", "can-i", "create", kind, "-n", elevatedNamespace,
					"--as=system:serviceaccount:"+home+":kubeprober-worker").Run(ctx)
				Expect(answer.Stdout).To(Equal("no\n"), "%s by the account in %s", kind, home)
			}
		}
	})
}

func workerOf(input func() Input, worker string) {
	DescribeTable("keeps checkers from", func(ctx SpecContext, automount bool, container, pod, want string) {
		manifest := fmt.Sprintf(workerDeployment, namespace, automount, container, pod)
		out := input().Managed.Kubectl("create", "--dry-run=server", "-f", "-", worker).Stdin(manifest).Fail(ctx)
		Expect(out).To(ContainSubstring(want))
	},
		Entry("running as the agent", false, "", "serviceAccountName: probe-agent", "no service account of their own"),
		Entry("getting the token of a service account", true, "", "", "automountServiceAccountToken false"),
		Entry("mounting the secret of the cluster", false, "", "volumes: [{name: v, configMap: {name: probeagent}}]", "no volumes"),
		Entry("reading Secrets into their environment", false, ", envFrom: [{secretRef: {name: probeagent-report-key}}]", "", "read no Secrets"),
		Entry("getting at the node", false, "", "hostPID: true", "no part of their node"),
		Entry("being privileged", false, ", securityContext: {privileged: true}", "", "no part of their node"),
		Entry("adding capabilities", false, ", securityContext: {capabilities: {add: [SYS_ADMIN]}}", "", "add no capabilities"),
	)

	It("lets checkers make the Deployments of a check", func(ctx SpecContext) {
		manifest := fmt.Sprintf(workerDeployment, namespace, false, "", "")
		input().Managed.Kubectl("create", "--dry-run=server", "-f", "-", worker).Stdin(manifest).Succeed(ctx)
	})

	It("keeps checkers from what is not of a check", func(ctx SpecContext) {
		const want = "only objects that carry the label"
		in := input()
		Expect(in.Managed.Kubectl("delete", "deployment", "probe-agent", "-n", namespace, "--dry-run=server", worker).Fail(ctx)).To(ContainSubstring(want))
		Expect(in.Managed.Kubectl("delete", "service", "probeagent", "-n", namespace, "--dry-run=server", worker).Fail(ctx)).To(ContainSubstring(want))
		Expect(in.Managed.Kubectl("create", "service", "clusterip", "intruder", "--tcp=80", "-n", namespace, "--dry-run=server", worker).Fail(ctx)).
			To(ContainSubstring(want))
		Expect(in.Managed.Kubectl("delete", "namespace", namespace, "--dry-run=server", worker).Fail(ctx)).To(ContainSubstring(want))
		Expect(in.Managed.Kubectl("create", "namespace", "intruder", "--dry-run=server", worker).Fail(ctx)).To(ContainSubstring(want))
	})
}
