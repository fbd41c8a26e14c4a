// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// viewer is somebody who may read what the master knows, and reach managed clusters.
const viewer = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-viewer}
rules:
  - apiGroups: [kubeprober.erda.cloud]
    resources: [clusters, probes, proberuns]
    verbs: [get, list, watch]
  - apiGroups: [proxy.kubeprober.erda.cloud]
    resources: [clusters, clusters/proxy]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-viewer}
subjects: [{kind: ServiceAccount, name: viewer, namespace: default}]
`

// MasterAddress is about ~/.kubeprober/config, which names the master's own address.
func MasterAddress(input func() Input) {
	Context("with a file ~/.kubeprober/config", Ordered, func() {
		var home string

		BeforeAll(func(ctx SpecContext) {
			in := input()
			home = GinkgoT().TempDir()
			config, err := json.Marshal(map[string]string{"masterAddr": strings.Replace(in.MasterAddress, "http://", "ws://", 1) + "/clusterdialer"})
			Expect(err).NotTo(HaveOccurred())
			Expect(os.MkdirAll(filepath.Join(home, ".kubeprober"), 0o700)).To(Succeed())
			Expect(os.WriteFile(filepath.Join(home, ".kubeprober", "config"), config, 0o600)).To(Succeed())
			apply(ctx, in.Master, viewer)
		})
		AfterAll(func(ctx SpecContext) {
			in := input()
			in.Master.Kubectl("delete", "serviceaccount/viewer", "clusterrolebinding/e2e-viewer", "clusterrole/e2e-viewer").Succeed(ctx)
		})

		It("reaches clusters through that address with the user's own token", func(ctx SpecContext) {
			in := input()
			kubeconfig := tokenKubeconfig(in, home, in.Master.Kubectl("create", "token", "viewer").Quiet().Succeed(ctx))
			table := framework.ParseTable(in.Master.Kubectl("probe", "status", "-c", in.ManagedName).Env("HOME="+home, "KUBECONFIG="+kubeconfig).Succeed(ctx))
			Expect(table.Header).To(Equal(resultColumns))
			expectVerdicts(table, "k8s")
		})

		It("lets nobody in there without a token that the master cluster knows", func(ctx SpecContext) {
			in := input()
			kubeconfig := tokenKubeconfig(in, home, "not-a-token")
			result := in.Master.Kubectl("probe", "status", "-c", in.ManagedName).Env("HOME="+home, "KUBECONFIG="+kubeconfig).Run(ctx)
			Expect(result.ExitCode).NotTo(BeZero())
			Expect(result.Stderr).To(MatchRegexp("(?i)unauthorized|forbidden|logged in|credentials"))
		})
	})
}

// tokenKubeconfig leaves a kubeconfig of the master cluster whose only credential is the token, and returns its path.
func tokenKubeconfig(in Input, dir, token string) string {
	GinkgoHelper()
	config := clientcmdapi.NewConfig()
	config.Clusters["master"] = &clientcmdapi.Cluster{Server: in.Master.Config.Host, CertificateAuthorityData: in.Master.Config.CAData}
	config.AuthInfos["viewer"] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	config.Contexts["viewer"] = &clientcmdapi.Context{Cluster: "master", AuthInfo: "viewer"}
	config.CurrentContext = "viewer"
	path := filepath.Join(dir, "kubeconfig")
	Expect(clientcmd.WriteToFile(*config, path)).To(Succeed())
	return path
}
