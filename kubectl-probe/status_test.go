// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestStatusShowsEveryProbeOfTheCluster(t *testing.T) {
	cluster(t, "erda-cloud", "k8s", "host", "stale", "silent", "lost")
	k8s := outcomeOf(
		checker("pod-create", kubeproberv1.CheckerPass, "deployed and reached in 2s"),
		checker("dns", kubeproberv1.CheckerError, "evil \x1b[31mred\x1b[0m\nsecond line\ttab"),
	)
	probeStatus(t, "k8s", k8s)
	onNode := checker("disk", kubeproberv1.CheckerWarn, "81% used")
	onNode.Node = "node-1"
	probeStatus(t, "host", outcomeOf(onNode))
	stale := outcomeOf(checker("old", kubeproberv1.CheckerPass, ""))
	stale.StaleTime = ago(time.Hour)
	probeStatus(t, "stale", stale)
	probeStatus(t, "lost", kubeproberv1.ProbeOutcome{Status: kubeproberv1.CheckerUnknown, Message: "ImagePullBackOff", LastRun: longAgo()})

	got := viaFront().run(t, "status", "-c", "erda-cloud")
	got.expect(t, 0, nil, nil)
	golden(t, "status", got.stdout)
	golden(t, "status-wide", viaFront().run(t, "status", "-c", "erda-cloud", "-o", "wide").stdout)
	golden(t, "status-name", viaFront().run(t, "status", "-c", "erda-cloud", "-o", "name").stdout)
	golden(t, "status-of-two-probes", viaFront().run(t, "status", "-c", "erda-cloud", "-p", "silent,host").stdout)
	viaFront().run(t, "status", "-c", "erda-cloud", "-p", "hosts").expect(t, 1, nil, []string{
		`error: probe "hosts" is not attached to cluster "erda-cloud"; attached:`, "host", "kubectl label cluster erda-cloud probe/hosts=true",
	})
	t.Run("as JSON", func(t *testing.T) {
		var report struct {
			Kind, APIVersion string
			Items            []struct {
				Cluster, Prober, Checker, Status string
				Stale                            bool
				LastRun                          *metav1.Time
			}
		}
		got := viaFront().run(t, "status", "-c", "erda-cloud", "-o", "json")
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
			t.Fatalf("%v in %s", err, got.stdout)
		}
		if report.Kind != "StatusReport" || report.APIVersion != "cli.kubeprober.erda.cloud/v1" || len(report.Items) != 6 {
			t.Errorf("unexpected report: %s", got.stdout)
		}
		byProbe := viaFront().run(t, "status", "-c", "erda-cloud", "-o", `jsonpath={.items[?(@.stale)].prober}`)
		byProbe.expect(t, 0, []string{"stale"}, nil)
	})
	t.Run("and fails as asked", func(t *testing.T) {
		for _, tc := range []struct {
			name, failOn, probes string
			code                 int
		}{
			{"never", "never", "k8s", 0},
			{"with ERROR", "error", "k8s,stale", 3},
			{"with WARN when errors are asked for", "error", "host", 0},
			{"with WARN", "warn", "host", 4},
			{"with a stale result", "error", "stale", 5},
			{"with UNKNOWN", "error", "lost", 5},
			{"with a probe that is silent", "warn", "silent,host", 5},
		} {
			t.Run(tc.name, func(t *testing.T) {
				viaFront().run(t, "status", "-c", "erda-cloud", "-p", tc.probes, "--fail-on", tc.failOn).expect(t, tc.code, nil, nil)
			})
		}
	})
	t.Run("with two requests", func(t *testing.T) {
		suite.front.seen()
		viaFront().run(t, "status", "-c", "erda-cloud").expect(t, 0, nil, nil)
		if requests := suite.front.seen(); len(requests) != 2 {
			t.Errorf("%d requests, expected 2: %q", len(requests), requests)
		}
	})
}

func TestStatusOfSeveralClustersHasAColumnForThem(t *testing.T) {
	cluster(t, "east", "k8s")
	cluster(t, "west", "k8s")
	probeStatus(t, "k8s", outcomeOf(checker("dns", kubeproberv1.CheckerPass, "")))
	got := viaFront().run(t, "status", "-c", "west,east")
	got.expect(t, 0, nil, nil)
	golden(t, "status-of-two-clusters", got.stdout)

	down(t, "west")
	got = viaFront().run(t, "status", "-c", "west,east")
	got.expect(t, 5, []string{"east"}, []string{`error: cluster "west" is disconnected (last heartbeat 30h ago)`, "1 of 2 clusters could not be read"})
	got = viaFront().run(t, "status", "-c", "west,east", "-o", "json")
	got.expect(t, 5, []string{`"errors"`, `"cluster": "west"`, `"cluster": "east"`}, nil)
}

// down cuts the tunnel of a cluster for the rest of the test.
func down(t *testing.T, name string) {
	t.Helper()
	suite.front.set(func() { suite.front.down[name] = true })
	t.Cleanup(func() { suite.front.set(func() { delete(suite.front.down, name) }) })
}

func TestStatusExplainsWhatIsWrong(t *testing.T) {
	c := cluster(t, "edge-17", "k8s", "typo")
	down(t, "edge-17")
	for _, tc := range []struct {
		name   string
		from   invocation
		args   []string
		code   int
		stderr []string
	}{
		{"a cluster that is almost named so", viaFront(), []string{"-c", "egde-17"}, 1, []string{`error: cluster "egde-17" not found; did you mean "edge-17"?`, "\n  kubectl get cluster"}},
		{"a cluster like no other", viaFront(), []string{"-c", "moon"}, 1, []string{`error: cluster "moon" not found` + "\n", "\n  kubectl get cluster"}},
		{"a name that is none", viaFront(), []string{"-c", "../x"}, 2, []string{`error: "../x" is not the name of a cluster`}},
		{"a cluster without a tunnel", viaFront(), []string{"-c", "edge-17"}, 5, []string{`error: cluster "edge-17" is disconnected (last heartbeat 30h ago)`, "kubectl describe cluster edge-17"}},
		{"an agent's namespace together with a cluster", viaFront(), []string{"-c", "edge-17", "-n", "x"}, 2, []string{"--probe-namespace"}},
		{"an argument", viaFront(), []string{"edge-17"}, 2, []string{"takes no arguments", "kubectl probe status --help"}},
		{"a flag that does not exist", viaFront(), []string{"--nope"}, 2, []string{"unknown flag: --nope", "kubectl probe status --help"}},
		{"a format that does not exist", viaFront(), []string{"-o", "xml"}, 2, []string{"allowed formats are"}},
		{"a value of --fail-on that does not exist", viaFront(), []string{"--fail-on", "x"}, 2, []string{"none of never, error, warn"}},
		{"a user without rights", viaFront().as(suite.stranger), []string{"-c", "edge-17"}, 1, []string{"error: not allowed to get clusters", "kubectl auth can-i get clusters.kubeprober.erda.cloud"}},
		{"a user without rights in a managed cluster itself", viaFront().as(suite.stranger), nil, 1, []string{"kubectl auth can-i list probestatuses.kubeprober.erda.cloud -n kubeprober"}},
		{"a token that nobody issued", viaFront().as("wrong"), []string{"-c", "edge-17"}, 1, []string{"does not accept the credentials", "kubectl auth whoami"}},
		{"a server that is not there", invocation{server: "https://127.0.0.1:1", token: "x"}, []string{"-c", "edge-17"}, 1, []string{"error: connecting to the API server https://127.0.0.1:1", "kubectl cluster-info"}},
		{"no kubeconfig", viaFront().withEnv("KUBECONFIG=/nowhere"), nil, 2, []string{"error: no kubeconfig was found"}},
		{"an unknown command", viaFront(), nil, 2, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"status"}, tc.args...)
			if tc.name == "an unknown command" {
				args, tc.stderr = []string{"statsu"}, []string{`error: unknown command "statsu"`, "kubectl probe status"}
			}
			tc.from.run(t, args...).expect(t, tc.code, nil, tc.stderr)
		})
	}
	t.Run("a user who may not use the gateway", func(t *testing.T) {
		limited := limitedUser(t)
		viaFront().as(limited).run(t, "status", "-c", "edge-17").expect(t, 1, nil, []string{
			`error: not allowed to reach cluster "edge-17" through the master`,
			"kubectl auth can-i get clusters.proxy.kubeprober.erda.cloud/edge-17 --subresource=proxy",
		})
	})
	t.Run("a label that names no probe", func(t *testing.T) {
		suite.front.set(func() { delete(suite.front.down, "edge-17") })
		before := c.DeepCopy()
		c.Status.AttachedProbes = []string{"k8s"}
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{
			Type: kubeproberv1.ClusterProbesSyncedCondition, Status: metav1.ConditionFalse, LastTransitionTime: *longAgo(),
			Reason: kubeproberv1.ClusterProbeNotFoundReason, Message: "there is no Probe typo in namespace default",
		})
		if err := suite.client.Status().Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		got := viaFront().run(t, "status", "-c", "edge-17")
		got.expect(t, 0, nil, nil)
		golden(t, "status-pending", got.stdout)
	})
}

func TestStatusWithoutAClusterReadsTheCurrentOne(t *testing.T) {
	got := direct().run(t, "status")
	got.expect(t, 0, nil, []string{"No probes found in namespace kubeprober."})
	if got.stdout != "" {
		t.Errorf("unexpected output %q", got.stdout)
	}
	t.Run("and sends the user of a master to its clusters", func(t *testing.T) {
		cluster(t, "erda-cloud")
		direct().run(t, "status").expect(t, 2, nil, []string{"which is a master: name a cluster with -c", "kubectl probe status -c erda-cloud"})
	})
	probe(t, agentNamespace, "idle")
	probeStatus(t, "k8s", outcomeOf(checker("dns", kubeproberv1.CheckerPass, "fine")))
	got = direct().run(t, "status", "-n", agentNamespace)
	got.expect(t, 0, nil, nil)
	golden(t, "status-standalone", got.stdout)
	direct().run(t, "status", "-n", agentNamespace, "-p", "nope").expect(t, 1, nil, []string{`error: probe "nope" not found in namespace probing`, "idle, k8s"})
}

func TestClustersAreReachedThroughTheMastersAddress(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	probeStatus(t, "k8s", outcomeOf(checker("dns", kubeproberv1.CheckerPass, "fine")))
	address := strings.Replace(suite.front.plain.URL, "http://", "ws://", 1) + "/clusterdialer"
	reached := func(t *testing.T) {
		t.Helper()
		if requests := strings.Join(suite.front.seen(), "\n"); !strings.Contains(requests, "direct GET /clusters/erda-cloud/proxy/apis/kubeprober.erda.cloud/v1/namespaces/probing/probestatuses") {
			t.Errorf("the master's address was not used: %s", requests)
		}
	}
	t.Run("of the environment", func(t *testing.T) {
		suite.front.seen()
		direct().withEnv("KUBEPROBER_MASTER="+address).run(t, "status", "-c", "erda-cloud").expect(t, 0, []string{"dns", "PASS"}, nil)
		reached(t)
	})
	t.Run("of the configuration file", func(t *testing.T) {
		file := writeConfig(t, `{"masterAddr": "`+address+`"}`, 0o600)
		suite.front.seen()
		got := direct().run(t, "status", "-c", "erda-cloud", "--kubeprober-config", file)
		got.expect(t, 0, []string{"dns", "PASS"}, nil)
		if got.stderr != "" {
			t.Errorf("unexpected warning for loopback: %s", got.stderr)
		}
		reached(t)
	})
	t.Run("which others can write to, with a warning", func(t *testing.T) {
		file := writeConfig(t, `{"masterAddr": "`+address+`"}`, 0o644)
		direct().withEnv("KUBEPROBER_CONFIG="+file).run(t, "status", "-c", "erda-cloud").expect(t, 0, nil, []string{"warning: " + file + " has mode 0644"})
	})
	t.Run("of last resort, where the API server does not serve the gateway", func(t *testing.T) {
		// The name of that address exists in a cluster only; an HTTP proxy stands in for its DNS.
		got := direct().withEnv("HTTP_PROXY="+suite.front.plain.URL).run(t, "status", "-c", "erda-cloud")
		got.expect(t, 0, []string{"dns", "PASS"}, []string{"warning: your token goes to http://probe-master.kubeprober.svc.cluster.local:8088 in clear text"})
	})
	t.Run("but not with a certificate", func(t *testing.T) {
		direct().as("").withEnv("KUBEPROBER_MASTER="+address).run(t, "status", "-c", "erda-cloud").expect(t, 2, nil, []string{"takes bearer tokens only"})
	})
	t.Run("nor as somebody else", func(t *testing.T) {
		direct().withEnv("KUBEPROBER_MASTER="+address).run(t, "status", "-c", "erda-cloud", "--as", "system:serviceaccount:default:user").
			expect(t, 1, nil, nil)
	})
	t.Run("and a wrong one is named", func(t *testing.T) {
		direct().withEnv("KUBEPROBER_MASTER=ws://127.0.0.1:1").run(t, "status", "-c", "erda-cloud").
			expect(t, 5, nil, []string{"error: connecting to the master at http://127.0.0.1:1 (from KUBEPROBER_MASTER)"})
	})
}

// BenchmarkStatus measures the whole command as a process.
func BenchmarkStatus(b *testing.B) {
	object := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "bench"}}
	if err := suite.client.Create(b.Context(), object); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = suite.client.Delete(context.WithoutCancel(b.Context()), object) })
	for b.Loop() {
		viaFront().run(b, "status", "-c", "bench").expect(b, 0, nil, nil)
	}
}
