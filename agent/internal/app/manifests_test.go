// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// readManifest reads the first object of a file of the installation.
func readManifest(t *testing.T, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "config"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(data, []byte("\n---\n"))
	if err := yaml.UnmarshalStrict(first, into); err != nil {
		t.Fatal(err)
	}
}

func TestReportsOfCheckersInTheNetworkOfTheirNodeComeThrough(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	readManifest(t, &policy, "network-policy", "agent.yaml")
	open := slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
		return len(rule.From) == 0 && slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool {
			return p.Port.IntValue() == reportPort
		})
	})
	if !open {
		t.Errorf("port %d is not open to nodes, which no selector names", reportPort)
	}
}

func TestTheAgentMayReadItsOwnServiceOnly(t *testing.T) {
	var role rbacv1.Role
	readManifest(t, &role, "rbac", "role.yaml")
	var found []rbacv1.PolicyRule
	for _, rule := range role.Rules {
		if slices.Contains(rule.Resources, "services") {
			found = append(found, rule)
		}
	}
	if len(found) != 1 || !slices.Equal(found[0].ResourceNames, []string{serviceName}) || !slices.Equal(found[0].Verbs, []string{"get"}) {
		t.Errorf("the rules for Services are %+v", found)
	}
}
