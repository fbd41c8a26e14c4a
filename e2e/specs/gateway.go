// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// operator is what an administrator of the managed cluster grants to people who come through the gateway.
const operator = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-operator}
rules:
  - apiGroups: [""]
    resources: [pods, configmaps, services, nodes]
    verbs: [get, list, watch]
  - apiGroups: [""]
    resources: [pods/log]
    verbs: [get]
  - apiGroups: [""]
    resources: [pods/exec, pods/portforward]
    verbs: [get, create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-operator}
subjects: [{kind: ServiceAccount, name: probe-tunnel, namespace: kubeprober}]
`

// target is a pod to talk to.
const target = `
apiVersion: v1
kind: Pod
metadata: {name: talker, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: talker
      image: %s
      command: [bash, -c, 'n=0; while sleep 1; do echo "line $((n++))"; done']
`

// Gateway is about kubectl reaching the API of a managed cluster through that of the master cluster.
func Gateway(input func() Input) {
	through := func(args ...string) *framework.Kubectl {
		in := input()
		return in.Master.Kubectl(append([]string{"--server", in.gateway(in.ManagedName)}, args...)...)
	}

	It("gives the managed cluster's own Forbidden for what probe-tunnel may not do", func(ctx SpecContext) {
		said := through("get", "secrets", "-n", "kube-system").Fail(ctx)
		Expect(said).To(ContainSubstring("Forbidden"))
		Expect(said).To(ContainSubstring("system:serviceaccount:kubeprober:probe-tunnel"))
		said = through("get", "pods", "-n", "kube-system").Fail(ctx)
		Expect(said).To(ContainSubstring("system:serviceaccount:kubeprober:probe-tunnel"))
	})

	Context("with a role that the managed cluster opted in to", Ordered, func() {
		BeforeAll(func(ctx SpecContext) {
			in := input()
			apply(ctx, in.Managed, operator)
			apply(ctx, in.Managed, fmt.Sprintf(target, in.image("probe-base")))
			in.Managed.Kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/talker").Succeed(ctx)
		})
		AfterAll(func(ctx SpecContext) {
			in := input()
			in.Managed.Kubectl("delete", "pod/talker", "clusterrolebinding/e2e-operator", "clusterrole/e2e-operator", "--ignore-not-found").Succeed(ctx)
		})

		It("gets", func(ctx SpecContext) {
			in := input()
			Expect(through("get", "nodes", "-o", "name").Succeed(ctx)).To(Equal(in.Managed.Kubectl("get", "nodes", "-o", "name").Succeed(ctx)))
			Expect(through("get", "pod", "talker").Succeed(ctx)).To(ContainSubstring("Running"))
		})

		It("watches", func(ctx SpecContext) {
			in := input()
			session := through("get", "configmaps", "-n", "default", "-w").Start(ctx)
			Eventually(session).WithTimeout(soon).Should(gbytes.Say("kube-root-ca.crt"))
			in.Managed.Kubectl("create", "configmap", "seen-by-watch", "-n", "default").Succeed(ctx)
			DeferCleanup(func(ctx SpecContext) { in.Managed.Kubectl("delete", "configmap", "seen-by-watch").Succeed(ctx) })
			Eventually(session).WithTimeout(soon).Should(gbytes.Say("seen-by-watch"))
			Consistently(session, "2s").ShouldNot(gexec.Exit(), "the watch stays open")
		})

		It("follows logs", func(ctx SpecContext) {
			session := through("logs", "-f", "talker", "--tail=1").Start(ctx)
			Eventually(session).WithTimeout(soon).Should(gbytes.Say(`line \d+\n`))
			Eventually(session).WithTimeout(soon).Should(gbytes.Say(`line \d+\n`), "a line that was written after the call")
		})

		It("executes commands, with input, output and exit code", func(ctx SpecContext) {
			Expect(through("exec", "talker", "--", "echo", "hello").Succeed(ctx)).To(Equal("hello\n"))
			Expect(through("exec", "-i", "talker", "--", "cat").Stdin("fed through the tunnel\n").Succeed(ctx)).To(Equal("fed through the tunnel\n"))
			Expect(through("exec", "talker", "--", "bash", "-c", "exit 7").Run(ctx).ExitCode).To(Equal(7))
			megabytes := through("exec", "talker", "--", "head", "-c", "8388608", "/dev/zero").Run(ctx)
			Expect(megabytes.ExitCode).To(BeZero())
			Expect(megabytes.Stdout).To(HaveLen(8<<20), "a stream that is larger than any buffer on its way")
		})

		It("forwards ports", func(ctx SpecContext) {
			pods := strings.Fields(through("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "name").Succeed(ctx))
			Expect(pods).NotTo(BeEmpty())
			session := through("port-forward", "-n", "kube-system", pods[0], ":8080").Start(ctx)
			Eventually(session).WithTimeout(soon).Should(gbytes.Say(`Forwarding from 127\.0\.0\.1:\d+`))
			port := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindSubmatch(session.Out.Contents())
			for range 3 {
				Expect(fetch(ctx, fmt.Sprintf("http://127.0.0.1:%s/health", port[1]))).To(Equal("OK"))
			}
		})

		It("says that a cluster is not connected", func(ctx SpecContext) {
			in := input()
			said := in.Master.Kubectl("get", "--raw", "/apis/proxy.kubeprober.erda.cloud/v1/clusters/no-such-cluster/proxy/version").Fail(ctx)
			Expect(said).To(ContainSubstring("no-such-cluster"))
		})

		It("lets nobody in whom the master cluster does not allow", func(ctx SpecContext) {
			in := input()
			said := in.Master.Kubectl("--server", in.gateway(in.ManagedName), "get", "nodes", "--as", "somebody").Fail(ctx)
			Expect(said).To(ContainSubstring("somebody"))
			said = in.Master.Kubectl("get", "--raw", "/apis/proxy.kubeprober.erda.cloud/v1/clusters/"+in.ManagedName+"/proxy/version", "--as", "somebody").Fail(ctx)
			Expect(said).To(MatchRegexp("(?i)forbidden"))
		})
	})
}

func fetch(ctx context.Context, url string) string {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	client := &http.Client{Timeout: soon}
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return string(body)
}
