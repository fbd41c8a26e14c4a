// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// k8sProbe is the Probe of the walkthrough, word for word but for the tag.
const k8sProbe = `
apiVersion: kubeprober.erda.cloud/v1
kind: Probe
metadata:
  name: k8s
spec:
  policy:
    runInterval: 30            # minutes
  template:
    containers:
      - name: k8s
        image: %s
        env:
          - name: NODE_NAME
            valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        resources: {requests: {cpu: 10m, memory: 50Mi}}
    restartPolicy: Never
  configs:
    - name: control-plane
      env:
        - {name: PRIVATE_DOMAIN, value: "kubernetes.default"}
        - {name: DNS_CHECK_NAMESPACE, value: "kube-system"}
        - {name: DNS_NODE_SELECTOR, value: "k8s-app=kube-dns"}
        - {name: PUBLIC_DOMAIN, value: "www.baidu.com"}
`

var (
	resultColumns = []string{"PROBER", "CHECKER", "STATUS", "MESSAGE", "LASTRUN"}
	listColumns   = []string{"ID", "PROBES", "STATUS", "CREATETIME", "FINISHTIME"}
)

// Install deploys the master, makes it reachable for the other clusters, and deploys the agent of the managed cluster.
func Install(input func() Input) {
	It("installs the master from deployment/probe-master.yaml", func(ctx SpecContext) {
		in := input()
		Expect(in.Master.Deploy(ctx, "probe-master", framework.Edit{Old: "your-token-here", New: in.Secret})).To(Succeed())
		in.Master.Kubectl("-n", namespace, "patch", "service", "probe-master", "-p",
			`{"spec":{"type":"NodePort","ports":[{"port":8088,"nodePort":30088}]}}`).Succeed(ctx)
		in.Master.Kubectl("wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1.proxy.kubeprober.erda.cloud").Succeed(ctx)
	})

	It("installs the agent from deployment/probe-agent.yaml", func(ctx SpecContext) {
		in := input()
		Expect(in.Managed.Deploy(ctx, "probe-agent", in.agentEdits(in.ManagedName, in.Secret)...)).To(Succeed())
		c := connected(ctx, in, in.ManagedName)
		Expect(c.Status.Identity).NotTo(BeNil())
		Expect(c.Status.Identity.UID).To(Equal(kubeSystemUID(ctx, in.Managed)), "the name is bound to the managed cluster")
	})
}

// Walkthrough does what the walkthrough of the README does, as it is written there.
func Walkthrough(input func() Input) {
	It("kubectl get cluster shows the cluster in the promised columns", func(ctx SpecContext) {
		in := input()
		table := framework.ParseTable(in.Master.Kubectl("get", "cluster").Succeed(ctx))
		Expect(table.Header).To(Equal([]string{"NAME", "READY", "VERSION", "NODECOUNT", "PROBENAMESPACE", "PROBE", "TOTAL/ERROR", "HEARTBEATTIME", "AGE"}))
		row := table.Row("NAME", in.ManagedName)
		Expect(row).NotTo(BeNil())
		Expect(row).To(HaveKeyWithValue("NODECOUNT", "1"))
		Expect(row).To(HaveKeyWithValue("PROBENAMESPACE", namespace))
		Expect(row["VERSION"]).To(Equal(serverVersion(ctx, in.Managed)))
	})

	It("attaches the Probe by a label, and the cluster becomes Ready when it passes", func(ctx SpecContext) {
		in := input()
		apply(ctx, in.Master, fmt.Sprintf(k8sProbe, in.image("probe-k8s")))
		attach(ctx, in, in.ManagedName, "k8s")
		c := framework.Await(ctx, in.Master, cluster(in.ManagedName), diagnose, "judged by its probe", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, "k8s")
			return s != nil && s.Status != ""
		})
		Expect(summary(c, "k8s").Status).To(BeElementOf(kubeproberv1.CheckerPass, kubeproberv1.CheckerInfo, kubeproberv1.CheckerWarn), summary(c, "k8s").Message)
		in.Master.Kubectl("wait", "--for=condition=Ready", "--timeout=30s", "cluster/"+in.ManagedName).Succeed(ctx)

		row := framework.ParseTable(in.Master.Kubectl("get", "cluster").Succeed(ctx)).Row("NAME", in.ManagedName)
		Expect(row).To(HaveKeyWithValue("READY", "True"))
		Expect(row["PROBE"]).To(ContainSubstring("k8s"))
		Expect(row["TOTAL/ERROR"]).To(MatchRegexp(`^[1-9][0-9]*/0$`))
	})

	It("kubectl probe status shows the latest results of the scheduled probes", func(ctx SpecContext) {
		in := input()
		table := framework.ParseTable(in.Master.Kubectl("probe", "status", "-c", in.ManagedName).Succeed(ctx))
		Expect(table.Header).To(Equal(resultColumns))
		expectVerdicts(table, "k8s")
	})

	It("kubectl probe once runs all attached probes", func(ctx SpecContext) {
		in := input()
		table := framework.ParseTable(in.Master.Kubectl("probe", "once", "-c", in.ManagedName).Succeed(ctx))
		Expect(table.Header).To(Equal(resultColumns))
		expectVerdicts(table, "k8s")
	})

	It("kubectl probe once -p runs the named probes, attached or not", func(ctx SpecContext) {
		in := input()
		apply(ctx, in.Master, in.sample("host"))
		table := framework.ParseTable(in.Master.Kubectl("probe", "once", "-c", in.ManagedName, "-p", "k8s,host").Succeed(ctx))
		Expect(table.Header).To(Equal(resultColumns))
		expectVerdicts(table, "k8s")
		expectVerdicts(table, "host")
		// Later specs want a second scheduled probe, and its first run to be over.
		attach(ctx, in, in.ManagedName, "host")
		framework.Await(ctx, in.Master, cluster(in.ManagedName), diagnose, "judged by the second probe", func(c *kubeproberv1.Cluster) bool {
			s := summary(c, "host")
			return s != nil && s.Status != ""
		})
	})

	It("kubectl probe oncestatus -l lists the diagnoses, and -i shows the result of one", func(ctx SpecContext) {
		in := input()
		list := framework.ParseTable(in.Master.Kubectl("probe", "oncestatus", "-c", in.ManagedName, "-l").Succeed(ctx))
		Expect(list.Header).To(Equal(listColumns))
		Expect(len(list.Rows)).To(BeNumerically(">=", 2))
		newest := list.Rows[0]
		Expect(newest["ID"]).To(MatchRegexp(`^[0-9]{10,}$`))
		Expect(newest["ID"] > list.Rows[1]["ID"]).To(BeTrue(), "the newest diagnosis comes first")
		Expect(newest["STATUS"]).To(Equal("Succeeded"))
		Expect(strings.Split(newest["PROBES"], ",")).To(ConsistOf("k8s", "host"))
		Expect(newest["FINISHTIME"]).NotTo(BeEmpty())

		table := framework.ParseTable(in.Master.Kubectl("probe", "oncestatus", "-c", in.ManagedName, "-i", newest["ID"]).Succeed(ctx))
		Expect(table.Header).To(Equal(resultColumns))
		expectVerdicts(table, "k8s")
		expectVerdicts(table, "host")
	})

	It("leaves no namespace, deployment or pod of its checks behind", func(ctx SpecContext) {
		in := input()
		pods := framework.ParseTable(in.Managed.Kubectl("get", "pods", "-A").Succeed(ctx))
		for _, row := range pods.Rows {
			Expect(row["STATUS"]).To(BeElementOf("Running", "Completed"), "%v", row)
		}
		Expect(in.Managed.Kubectl("get", "deployments", "-n", namespace, "-o", "name").Succeed(ctx)).To(
			And(ContainSubstring("probe-agent"), ContainSubstring("probe-tunnel"), Not(ContainSubstring("check"))))
		Expect(in.Managed.Kubectl("get", "namespaces", "-o", "name").Succeed(ctx)).NotTo(ContainSubstring("check"))
	})
}

// expectVerdicts expects that the probe has results of real checkers: several, of which some pass and none fails.
func expectVerdicts(table framework.Table, prober string) {
	GinkgoHelper()
	passed, found := 0, 0
	for _, row := range table.Rows {
		if row["PROBER"] != prober {
			continue
		}
		found++
		Expect(row["CHECKER"]).NotTo(BeEmpty())
		Expect(row["LASTRUN"]).NotTo(BeEmpty())
		Expect(row["STATUS"]).To(BeElementOf("PASS", "INFO", "WARN"), "%v", row)
		if row["STATUS"] == "PASS" {
			passed++
		}
	}
	Expect(found).To(BeNumerically(">=", 3), "checkers of %s in %v", prober, table.Rows)
	Expect(passed).To(BeNumerically(">=", 2), "checkers of %s that pass in %v", prober, table.Rows)
}

func serverVersion(ctx context.Context, c *framework.Cluster) string {
	GinkgoHelper()
	return strings.TrimSpace(c.Kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}").Succeed(ctx))
}
