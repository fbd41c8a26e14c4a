// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/pod-security-admission/api"
	"sigs.k8s.io/yaml"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
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

// admits tells whom a NetworkPolicy admits to a port; open when it is everybody.
func admits(policy *networkingv1.NetworkPolicy, port int) (from []networkingv1.NetworkPolicyPeer, open bool) {
	for _, rule := range policy.Spec.Ingress {
		if slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == port }) {
			from = append(from, rule.From...)
			open = open || len(rule.From) == 0
		}
	}
	return from, open
}

func TestOnlyPodsOfRunsReachTheReceiver(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	readManifest(t, &policy, "network-policy", "agent.yaml")
	from, open := admits(&policy, reportPort)
	if open || len(from) != 2 {
		t.Fatalf("port %d admits %+v", reportPort, from)
	}
	places := map[string]bool{}
	for _, peer := range from {
		if rules := peer.PodSelector.MatchExpressions; len(rules) != 1 || rules[0].Key != kubeproberv1.ProbeLabel {
			t.Errorf("pods are selected by %+v", peer.PodSelector)
		}
		place := policy.Namespace
		if peer.NamespaceSelector != nil {
			place = peer.NamespaceSelector.MatchLabels[corev1.LabelMetadataName]
		}
		places[place] = true
	}
	if !places[defaultNamespace] || !places[defaultElevated] {
		t.Errorf("pods are admitted from %v", places)
	}
	if from, open := admits(&policy, 8443); open || len(from) != 1 || from[0].NamespaceSelector.MatchLabels["metrics"] != "enabled" {
		t.Errorf("metrics admit %+v", from)
	}
}

func TestReportsOfCheckersInTheNetworkOfTheirNodeComeThroughWithTheComponent(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	readManifest(t, &policy, "components", "host-network-checkers", "network_policy.yaml")
	if _, open := admits(&policy, reportPort); !open {
		t.Errorf("port %d is not open to nodes, which no selector names", reportPort)
	}
}

func TestTheNamespacesSayWhatTheirPodsMayBe(t *testing.T) {
	levels := map[string]string{}
	for _, path := range [][]string{{"manager", "namespace.yaml"}, {"elevated", "namespace.yaml"}} {
		var namespace corev1.Namespace
		readManifest(t, &namespace, path...)
		levels[namespace.Name] = namespace.Labels[api.EnforceLevelLabel]
	}
	if levels[defaultNamespace] != string(api.LevelRestricted) || levels[defaultElevated] != string(api.LevelPrivileged) {
		t.Errorf("levels %v", levels)
	}
}

func TestTheMastersManifestHasTheSameNamespace(t *testing.T) {
	var own, masters corev1.Namespace
	readManifest(t, &own, "manager", "namespace.yaml")
	readManifest(t, &masters, "..", "..", "master", "config", "manager", "namespace.yaml")
	if !equality.Semantic.DeepEqual(own, masters) {
		t.Errorf("the agent's is %+v, the master's %+v: whichever is applied last takes away what it lacks", own, masters)
	}
}

func TestTheAgentHasTheSameRightsOverRunsInBothNamespaces(t *testing.T) {
	var own, elevated rbacv1.Role
	readManifest(t, &own, "rbac", "role.yaml")
	readManifest(t, &elevated, "elevated", "role.yaml")
	verbs := func(role *rbacv1.Role, resource string) (verbs []string) {
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, resource) {
				verbs = append(verbs, rule.Verbs...)
			}
		}
		return verbs
	}
	for _, resource := range []string{"jobs", "pods", "pods/log"} {
		if here, there := verbs(&own, resource), verbs(&elevated, resource); len(here) == 0 || !slices.Equal(here, there) {
			t.Errorf("%s: %v here, %v there", resource, here, there)
		}
	}
	if got := verbs(&elevated, "events"); !slices.Equal(got, []string{"list"}) {
		t.Errorf("events: %v", got)
	}
	if len(elevated.Rules) != 4 {
		t.Errorf("there are %d rules for elevated probes", len(elevated.Rules))
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
