// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Security is about what our service accounts may do, and where credentials are.
func Security(input func() Input) {
	It("grants no wildcard to any of its service accounts", func(ctx SpecContext) {
		in := input()
		for _, c := range []*framework.Cluster{in.Master, in.Managed} {
			accounts := accountsOf(ctx, c)
			Expect(len(accounts)).To(BeNumerically(">", 1))
			for _, account := range accounts {
				for _, in := range []string{namespace, elevatedNamespace, "default", "kube-system"} {
					// Every service account may read the discovery documents, whose paths have wildcards.
					everyones := grants(ctx, c, "default:default", in)
					for grant := range grants(ctx, c, account, in) {
						if !everyones[grant] {
							Expect(grant).NotTo(ContainSubstring("*"), "%s in namespace %s of cluster %s", account, in, c.Name)
						}
					}
				}
			}
		}
	})

	It("keeps no credential of a managed cluster in the master cluster", func(ctx SpecContext) {
		in := input()
		secrets := credentials(ctx, in.Managed)
		Expect(len(secrets)).To(BeNumerically(">=", 3), "the tokens of the agent and the tunnel, and the CA")
		own := credentials(ctx, in.Master)
		everything := dumpAll(ctx, in.Master)
		// The search must be able to find: the master cluster's own CA is in its own objects.
		Expect(bytes.Contains(everything, own[caOf])).To(BeTrue())
		for name, secret := range secrets {
			Expect(bytes.Contains(everything, secret)).To(BeFalse(), "%s of the managed cluster is in an object of the master cluster", name)
		}
		kid := keyID(secrets["probe-tunnel"])
		Expect(kid).NotTo(BeEmpty())
		for _, token := range jwt.FindAll(everything, -1) {
			Expect(keyID(token)).NotTo(Equal(kid), "a token that the managed cluster has signed is in an object of the master cluster")
		}
	})
}

// caOf is the name of a cluster's CA among its credentials.
const caOf = "CA"

var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)

// accountsOf are the service accounts in our namespaces, as namespace:name.
func accountsOf(ctx context.Context, c *framework.Cluster) []string {
	GinkgoHelper()
	all := c.Kubectl("get", "serviceaccounts", "-A", "-o", "jsonpath={range .items[*]}{.metadata.namespace}:{.metadata.name} {end}").Quiet().Succeed(ctx)
	return slices.DeleteFunc(strings.Fields(all), func(account string) bool { return !strings.HasPrefix(account, namespace) })
}

// grants are the lines of `kubectl auth can-i --list` for a service account.
func grants(ctx context.Context, c *framework.Cluster, account, in string) map[string]bool {
	GinkgoHelper()
	out := c.Kubectl("auth", "can-i", "--list", "--as", "system:serviceaccount:"+account, "-n", in).Succeed(ctx)
	lines := map[string]bool{}
	for _, line := range strings.Split(out, "\n")[1:] {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines[line] = true
		}
	}
	return lines
}

// credentials are the projected tokens of our pods, by service account, and the cluster's CA, as its node holds them.
func credentials(ctx context.Context, c *framework.Cluster) map[string][]byte {
	GinkgoHelper()
	found := map[string][]byte{}
	const perPod = `{range .items[*]}{.metadata.uid} {.spec.serviceAccountName}{"\n"}{end}`
	pods := c.Kubectl("get", "pods", "-n", namespace, "--field-selector=status.phase=Running", "-o", "jsonpath="+perPod).Succeed(ctx)
	for _, line := range strings.Split(strings.TrimSpace(pods), "\n") {
		uid, account, _ := strings.Cut(line, " ")
		// Not by the link beside: it lies in a folder with a sticky bit, where even root follows no link of another user.
		token, err := c.OnNode(ctx, c.ControlPlane(), "sh", "-c", "cat /var/lib/kubelet/pods/"+uid+"/volumes/kubernetes.io~projected/*/..data/token")
		Expect(err).NotTo(HaveOccurred())
		for _, token := range jwt.FindAll(token, -1) {
			found[account] = token
		}
	}
	ca, err := c.OnNode(ctx, c.ControlPlane(), "cat", "/etc/kubernetes/pki/ca.crt")
	Expect(err).NotTo(HaveOccurred())
	// The middle of the certificate, which is the same however the lines are broken or escaped.
	found[caOf] = bytes.TrimSpace(bytes.Split(ca, []byte("\n"))[5])
	return found
}

// dumpAll is every object of every kind in a cluster, with the data of Secrets decoded.
func dumpAll(ctx context.Context, c *framework.Cluster) []byte {
	GinkgoHelper()
	kinds := strings.Fields(c.Kubectl("api-resources", "--verbs=list", "-o", "name").Succeed(ctx))
	out := c.Kubectl("get", strings.Join(kinds, ","), "-A", "-o", "json", "--show-managed-fields").Quiet().Succeed(ctx)
	var list struct {
		Items []struct {
			Kind string          `json:"kind"`
			Data json.RawMessage `json:"data"`
		} `json:"items"`
	}
	Expect(json.Unmarshal([]byte(out), &list)).To(Succeed())
	all := bytes.NewBufferString(out)
	decoded := 0
	for _, item := range list.Items {
		if item.Kind != "Secret" || item.Data == nil {
			continue
		}
		// The decoder of JSON takes bytes from base64.
		var values map[string][]byte
		Expect(json.Unmarshal(item.Data, &values)).To(Succeed())
		for _, value := range values {
			all.WriteByte('\n')
			all.Write(value)
			decoded++
		}
	}
	Expect(decoded).To(BeNumerically(">", 0), "the master keeps certificates of its own in Secrets")
	return all.Bytes()
}

// keyID is the ID of the key that signed a token.
func keyID(token []byte) string {
	header, _, _ := strings.Cut(string(token), ".")
	data, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return ""
	}
	var parsed struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(data, &parsed) != nil {
		return ""
	}
	return parsed.KeyID
}
