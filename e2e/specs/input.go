// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package specs holds what Kubeprober must do on real clusters, one function for each subject, to be called from the suites.
// It sees only what a user sees: manifests, kubectl, the plugin and the API.
package specs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Bounds on what is waited for. They are wide: a machine of two cores runs three clusters; what is fast is measured elsewhere.
const (
	soon     = 30 * time.Second
	aMinute  = time.Minute
	diagnose = 3 * time.Minute
)

const (
	// namespace that Kubeprober is deployed to.
	namespace = "kubeprober"
	// probeNamespace holds the Probes of the master.
	probeNamespace = "default"
)

// Input is what the specs run against.
type Input struct {
	// Master runs probe-master, Managed is the cluster of the walkthrough, and Spare is there for agents that misbehave.
	Master, Managed, Spare *framework.Cluster
	// ManagedName and SpareName are the names under which they register.
	ManagedName, SpareName string
	// MasterAddress is where the other clusters reach the master.
	MasterAddress string
	// Secret is what agents must present.
	Secret string
	// Tag of the images.
	Tag string
	// Samples is the folder with the Probes that users start from.
	Samples string
}

// sample is one of the Probes that users start from, with the images that are tested.
func (in Input) sample(name string) string {
	ginkgo.GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(in.Samples, name+".yaml"))
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return ourImage.ReplaceAllString(string(text), "${1}:"+in.Tag)
}

var ourImage = regexp.MustCompile(`(image: kubeprober/[a-z0-9-]+):\S+`)

// image names one of our images.
func (in Input) image(name string) string { return fmt.Sprintf("kubeprober/%s:%s", name, in.Tag) }

// gateway is the address at which kubectl finds the API of a managed cluster behind that of the master cluster.
func (in Input) gateway(cluster string) string {
	return fmt.Sprintf("%s/apis/proxy.kubeprober.erda.cloud/v1/clusters/%s/proxy", in.Master.Config.Host, cluster)
}

// agentEdits are what a user writes into deployment/probe-agent.yaml.
func (in Input) agentEdits(clusterName, secret string) []framework.Edit {
	return []framework.Edit{
		{Old: "http://probe-master.kubeprober.svc.cluster.local:8088", New: in.MasterAddress},
		{Old: "cluster_name: erda-cloud", New: "cluster_name: " + clusterName},
		{Old: "your-token-here", New: secret},
	}
}

func cluster(name string) *kubeproberv1.Cluster {
	return &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func probe(namespace, name string) *kubeproberv1.Probe {
	return &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func probeStatus(name string) *kubeproberv1.ProbeStatus {
	return &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// condition returns the status of a condition, or Unknown's absence as "".
func condition(c *kubeproberv1.Cluster, name string) metav1.ConditionStatus {
	if found := meta.FindStatusCondition(c.Status.Conditions, name); found != nil {
		return found.Status
	}
	return ""
}

func reason(c *kubeproberv1.Cluster, name string) string {
	if found := meta.FindStatusCondition(c.Status.Conditions, name); found != nil {
		return found.Reason
	}
	return ""
}

// summary is what the master says of one probe of a cluster, or nil.
func summary(c *kubeproberv1.Cluster, name string) *kubeproberv1.ClusterProbeStatus {
	for i := range c.Status.Probes {
		if c.Status.Probes[i].Name == name {
			return &c.Status.Probes[i]
		}
	}
	return nil
}

// attach labels a cluster as a user does.
func attach(ctx context.Context, in Input, cluster, probe string) {
	ginkgo.GinkgoHelper()
	in.Master.Kubectl("label", "cluster", cluster, kubeproberv1.AttachLabel(probe)+"=true").Succeed(ctx)
}

// detach removes the label, if it is there.
func detach(ctx context.Context, in Input, cluster, probe string) {
	ginkgo.GinkgoHelper()
	in.Master.Kubectl("label", "cluster", cluster, kubeproberv1.AttachLabel(probe)+"-").Succeed(ctx)
}

// apply applies a manifest.
func apply(ctx context.Context, c *framework.Cluster, manifest string) {
	ginkgo.GinkgoHelper()
	c.Kubectl("apply", "-f", "-").Stdin(manifest).Succeed(ctx)
}

// attachForSpec applies a Probe on the master and attaches it for as long as the spec runs.
func attachForSpec(ctx context.Context, in Input, cluster, name, manifest string) {
	ginkgo.GinkgoHelper()
	apply(ctx, in.Master, manifest)
	attach(ctx, in, cluster, name)
	ginkgo.DeferCleanup(func(ctx ginkgo.SpecContext) {
		detach(ctx, in, cluster, name)
		in.Master.Kubectl("delete", "probe.kubeprober.erda.cloud", name, "-n", probeNamespace, "--timeout=60s").Succeed(ctx)
	}, ginkgo.NodeTimeout(2*time.Minute))
}

// connected waits until the cluster has registered and its tunnel is up.
func connected(ctx context.Context, in Input, name string) *kubeproberv1.Cluster {
	ginkgo.GinkgoHelper()
	return framework.Await(ctx, in.Master, cluster(name), aMinute, "registered and connected", func(c *kubeproberv1.Cluster) bool {
		return condition(c, kubeproberv1.ClusterConnectedCondition) == metav1.ConditionTrue && c.Status.HeartbeatTime != nil
	})
}

// scriptProbe is a Probe of the master that runs a bash script on the image for shell checkers.
func (in Input) scriptProbe(name, policy, script string) string {
	return in.script(probeNamespace, name, policy, script)
}

// localProbe is the same as a Probe that is made in a managed cluster.
func (in Input) localProbe(name, policy, script string) string {
	return in.script(namespace, name, policy, script)
}

func (in Input) script(namespace, name, policy, script string) string {
	return fmt.Sprintf(`
apiVersion: kubeprober.erda.cloud/v1
kind: Probe
metadata: {name: %s, namespace: %s}
spec:
  policy: %s
  template:
    restartPolicy: Never
    containers:
      - name: checker
        image: %s
        command: [bash, -c]
        args:
          - |
%s
`, name, namespace, policy, in.image("probe-base"), indent(script, 12))
}

func indent(text string, spaces int) string {
	prefix := strings.Repeat(" ", spaces)
	return prefix + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+prefix)
}

// events returns the notes of the events about an object of the master cluster, by reason.
func events(ctx context.Context, in Input, kind, name string) map[string]string {
	ginkgo.GinkgoHelper()
	var list corev1.EventList
	gomega.Expect(in.Master.Client.List(ctx, &list)).To(gomega.Succeed())
	found := map[string]string{}
	for _, event := range list.Items {
		if event.InvolvedObject.Kind == kind && event.InvolvedObject.Name == name {
			found[event.Reason] = event.Message
		}
	}
	return found
}

// kubeSystemUID is what the name of a cluster is bound to.
func kubeSystemUID(ctx context.Context, c *framework.Cluster) string {
	ginkgo.GinkgoHelper()
	return string(framework.Get(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}).UID)
}
