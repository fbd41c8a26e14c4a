// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Probes of a cluster whose agent has no master. They have no interval: they run once when they are made, and once more for
// each change, so that a spec decides when.

// change makes a Probe of a spec differ from the others.
type change func(*kubeproberv1.Probe)

// within bounds a run, in seconds.
func within(seconds int32) change {
	return func(p *kubeproberv1.Probe) { p.Spec.Policy.TimeoutSeconds = &seconds }
}

// onEveryNode runs one pod on each node.
func onEveryNode(p *kubeproberv1.Probe) { p.Spec.Policy.Placement = kubeproberv1.PlaceEveryNode }

// onNode runs the pod on a node of that name only.
func onNode(name string) change {
	return inPod(func(pod *corev1.PodSpec) { pod.NodeSelector = map[string]string{corev1.LabelHostname: name} })
}

// inPod changes the template.
func inPod(edit func(*corev1.PodSpec)) change {
	return func(p *kubeproberv1.Probe) { edit(&p.Spec.Template) }
}

// inContainer changes the only container of the template.
func inContainer(edit func(*corev1.Container)) change {
	return inPod(func(pod *corev1.PodSpec) { edit(&pod.Containers[0]) })
}

// withImage runs an image as it is, with its own entry point.
func withImage(image string) change {
	return inContainer(func(c *corev1.Container) { c.Image, c.Command, c.Args = image, nil, nil })
}

// local is a Probe that runs a bash script on the image for shell checkers, in a container of the name checker.
func (in Input) local(name, script string, changes ...change) *kubeproberv1.Probe {
	p := probe(namespace, name)
	p.Spec.Policy.TimeoutSeconds = ptr.To[int32](120)
	p.Spec.Template = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		// A script that is told to end would wait for what it has started.
		TerminationGracePeriodSeconds: ptr.To[int64](1),
		Containers: []corev1.Container{{
			Name: "checker", Image: in.image("probe-base"), Command: []string{"bash", "-c"}, Args: []string{script},
		}},
	}
	for _, edit := range changes {
		edit(p)
	}
	return p
}

// create makes Probes in the cluster.
func create(ctx context.Context, c *framework.Cluster, probes ...*kubeproberv1.Probe) {
	GinkgoHelper()
	for _, p := range probes {
		Expect(c.Client.Create(ctx, p)).To(Succeed(), p.Name)
	}
}

// deleteLater removes Probes when the spec is over, or the container whose BeforeAll calls it.
func deleteLater(c *framework.Cluster, probes ...*kubeproberv1.Probe) {
	DeferCleanup(func(ctx SpecContext) {
		for _, p := range probes {
			Expect(client.IgnoreNotFound(c.Client.Delete(ctx, p))).To(Succeed(), p.Name)
		}
	}, NodeTimeout(time.Minute))
}

// runAgain changes a Probe, which makes it run, and gives its containers VERDICT.
func runAgain(ctx context.Context, c *framework.Cluster, name, verdict string) {
	GinkgoHelper()
	p := framework.Get(ctx, c, probe(namespace, name))
	before := p.DeepCopy()
	p.Spec.Configs = []kubeproberv1.ProbeConfig{{Name: "round", Env: []corev1.EnvVar{
		{Name: "ROUND", Value: fmt.Sprint(p.Generation + 1)}, {Name: "VERDICT", Value: verdict},
	}}}
	Expect(c.Client.Patch(ctx, p, client.MergeFrom(before))).To(Succeed())
}

// awaitRuns waits until so many runs of a probe are recorded.
func awaitRuns(ctx context.Context, c *framework.Cluster, name string, runs int, limit time.Duration) *kubeproberv1.ProbeOutcome {
	GinkgoHelper()
	status := framework.Await(ctx, c, probeStatus(name), limit, fmt.Sprintf("has recorded %d runs", runs), func(p *kubeproberv1.ProbeStatus) bool {
		return len(p.Status.History) >= runs
	})
	Expect(status.Status.History).To(HaveLen(runs))
	return &status.Status
}

// awaitPod waits until a pod of the probe is running, and returns it.
func awaitPod(ctx context.Context, c *framework.Cluster, name string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{kubeproberv1.ProbeLabel: name}}}
	return framework.Await(ctx, c, pod, aMinute, "runs", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
}

// jobsOf lists the Jobs of a probe, in whatever namespace they are.
func jobsOf(ctx context.Context, c *framework.Cluster, name string) []batchv1.Job {
	GinkgoHelper()
	var list batchv1.JobList
	Expect(c.Client.List(ctx, &list, client.MatchingLabels{kubeproberv1.ProbeLabel: name})).To(Succeed())
	return list.Items
}

// podsOf lists the pods of a probe, in whatever namespace they are.
func podsOf(ctx context.Context, c *framework.Cluster, name string) []corev1.Pod {
	GinkgoHelper()
	var list corev1.PodList
	Expect(c.Client.List(ctx, &list, client.MatchingLabels{kubeproberv1.ProbeLabel: name})).To(Succeed())
	return list.Items
}

// result returns what a checker of a node says, or nil.
func result(outcome *kubeproberv1.ProbeOutcome, name, node string) *kubeproberv1.CheckerResult {
	for i := range outcome.Checkers {
		if r := &outcome.Checkers[i]; r.Name == name && r.Node == node {
			return r
		}
	}
	return nil
}

// verdicts are the results of checkers as name=STATUS, or name@node=STATUS.
func verdicts(outcome *kubeproberv1.ProbeOutcome) []string {
	said := make([]string, 0, len(outcome.Checkers))
	for _, r := range outcome.Checkers {
		name := r.Name
		if r.Node != "" {
			name += "@" + r.Node
		}
		said = append(said, name+"="+string(r.Status))
	}
	return said
}
