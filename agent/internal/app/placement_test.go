// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// createOnNodes makes a Probe that runs on every node with a label.
func createOnNodes(ctx SpecContext, namespace, name string, label map[string]string) *kubeproberv1.Probe {
	GinkgoHelper()
	probe := &kubeproberv1.Probe{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       probeSpec(kubeproberv1.ProbePolicy{Placement: kubeproberv1.PlaceEveryNode}),
	}
	probe.Spec.Template.NodeSelector = label
	Expect(api.Create(ctx, probe)).To(Succeed())
	return probe
}

// visit waits for the run of a generation, lets it report from all its nodes, and returns these without their prefix.
func visit(ctx SpecContext, probe *kubeproberv1.Probe, generation, nodes int) []string {
	GinkgoHelper()
	var jobs []batchv1.Job
	Eventually(func(g Gomega) {
		jobs = nil
		for _, job := range jobsOf(ctx, probe.Namespace, probe.Name) {
			if finished, _ := run.JobFinished(&job); !finished {
				jobs = append(jobs, job)
			}
		}
		g.Expect(jobs).To(HaveLen(nodes))
	}).Should(Succeed())
	var visited []string
	for i := range jobs {
		Expect(run.MetaOf(&jobs[i]).Generation).To(BeEquivalentTo(generation))
		pod := startPod(ctx, &jobs[i])
		code, text := post(&jobs[i], results("disk=PASS"))
		Expect(code).To(Equal(http.StatusOK), text)
		endWell(ctx, &jobs[i], pod)
		visited = append(visited, strings.TrimPrefix(jobs[i].Annotations[run.NodeAnnotation], probe.Namespace+"-"))
	}
	Eventually(func() string { return outcomeOf(ctx, probe.Namespace, probe.Name).LastRunID }).Should(Equal(run.MetaOf(&jobs[0]).RunID))
	slices.Sort(visited)
	return visited
}

var _ = Describe("A probe for every node", func() {
	It("goes to new nodes with its next run, and says which it left out and why", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		label := createNodes(ctx, ns, map[string]corev1.NodeSpec{
			"a": {}, "cordoned": {Unschedulable: true}, "gpu": {Taints: []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoExecute}}},
		})
		createNodes(ctx, ns+"-foreign", map[string]corev1.NodeSpec{"z": {}})
		startAgent(ns)
		probe := createOnNodes(ctx, ns, "every", label)
		Expect(visit(ctx, probe, 1, 1)).To(Equal([]string{"a"}))
		outcome := outcomeOf(ctx, ns, "every")
		Expect(outcome.Status).To(Equal(kubeproberv1.CheckerPass), "a node that is left out is no fault")
		Expect(outcome.Message).To(And(ContainSubstring(ns+"-cordoned (cordoned)"), ContainSubstring(ns+"-gpu (taint gpu=yes:NoExecute)"), Not(ContainSubstring("foreign"))))
		Expect(outcome.History[0].Message).To(Equal(outcome.Message))

		By("adding a node and taking one back into service")
		createNodes(ctx, ns, map[string]corev1.NodeSpec{"b": {}})
		cordoned := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ns + "-cordoned"}}
		Expect(api.Patch(ctx, cordoned, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"unschedulable":false}}`)))).To(Succeed())
		Consistently(func() []batchv1.Job { return jobsOf(ctx, ns, "every") }, "300ms").Should(HaveLen(1), "a node that comes starts no run")
		changeProbe(ctx, probe)
		Expect(visit(ctx, probe, 2, 3)).To(Equal([]string{"a", "b", "cordoned"}))

		By("removing a node")
		Expect(api.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ns + "-a"}})).To(Succeed())
		changeProbe(ctx, probe)
		Expect(visit(ctx, probe, 3, 2)).To(Equal([]string{"b", "cordoned"}))
		Expect(said(outcomeOf(ctx, ns, "every").Checkers)).To(Equal([]string{"disk=PASS@" + ns + "-b", "disk=PASS@" + ns + "-cordoned"}))
	})

	It("respects the node affinity of its template", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		label := createNodes(ctx, ns, map[string]corev1.NodeSpec{"a": {}, "b": {}})
		startAgent(ns)
		probe := createProbe(ctx, ns, "suspended", kubeproberv1.ProbePolicy{Placement: kubeproberv1.PlaceEveryNode, State: kubeproberv1.ProbeSuspended})
		before := probe.DeepCopy()
		probe.Spec.Policy.State = kubeproberv1.ProbeActive
		probe.Spec.Template.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "suite", Operator: corev1.NodeSelectorOpIn, Values: slices.Collect(maps.Values(label))}},
				MatchFields:      []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{ns + "-b"}}},
			}}},
		}}
		Expect(api.Patch(ctx, probe, client.MergeFrom(before))).To(Succeed())
		Expect(visit(ctx, probe, 2, 1)).To(Equal([]string{"b"}))
	})

	It("does not wait for a node that is lost until its deadline", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		label := createNodes(ctx, ns, map[string]corev1.NodeSpec{"a": {}, "b": {}})
		for name, ready := range map[string]corev1.ConditionStatus{"a": corev1.ConditionTrue, "b": corev1.ConditionUnknown} {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + name}}
			patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"%s","reason":"NodeStatusUnknown","message":"no word of the kubelet"}]}}`, ready)
			Expect(api.Status().Patch(ctx, node, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
		}
		startAgent(ns)
		createOnNodes(ctx, ns, "every", label)
		Eventually(func() []batchv1.Job { return jobsOf(ctx, ns, "every") }).Should(HaveLen(2))
		for _, job := range jobsOf(ctx, ns, "every") {
			pod := startPod(ctx, &job)
			if job.Annotations[run.NodeAnnotation] == ns+"-a" {
				code, text := post(&job, results("disk=PASS"))
				Expect(code).To(Equal(http.StatusOK), text)
				endWell(ctx, &job, pod)
				continue
			}
			setPod(ctx, pod, func(s *corev1.PodStatus) {
				*s = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
					Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now(), Message: "0/2 nodes are available",
				}}}
			})
		}
		Eventually(func() []kubeproberv1.RunRecord { return outcomeOf(ctx, ns, "every").History }).Should(HaveLen(1))
		outcome := outcomeOf(ctx, ns, "every")
		Expect(said(outcome.Checkers)).To(ConsistOf("disk=PASS@"+ns+"-a", "every=UNKNOWN@"+ns+"-b"))
		Expect(outcome.Message).To(And(ContainSubstring("NodeLost: node "+ns+"-b: not ready since"), ContainSubstring("no word of the kubelet")))
	})

	for name, ended := range map[string]bool{
		"is completed by the next agent when one ends in the middle of making its Jobs":            false,
		"is completed even if all Jobs that were made have ended before the next agent is started": true,
	} {
		It(name, func(ctx SpecContext) {
			ns := newNamespace(ctx)
			label := createNodes(ctx, ns, map[string]corev1.NodeSpec{"a": {}, "b": {}, "c": {}})
			probe := createOnNodes(ctx, ns, "every", label)
			const made = 2
			var asked atomic.Int32
			dying := rest.CopyConfig(config)
			dying.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(request *http.Request) (*http.Response, error) {
					if request.Method == http.MethodPost && strings.HasSuffix(request.URL.Path, "/jobs") && asked.Add(1) > made {
						return nil, errors.New("the agent is gone")
					}
					return next.RoundTrip(request)
				})
			})
			address := freeAddress()
			listen := func(o *app.Options) { o.ReportAddr, o.ReportURL = address, "http://"+address }
			first := startAgentOn(dying, ns, listen)
			Eventually(asked.Load).Should(BeNumerically(">", made))
			half := jobsOf(ctx, ns, "every")
			Expect(half).To(HaveLen(made))
			if ended {
				for i := range half {
					code, text := post(&half[i], results("disk=PASS"))
					Expect(code).To(Equal(http.StatusOK), text)
				}
			}
			first.stop()
			Expect(api.Get(ctx, client.ObjectKeyFromObject(probe), probe)).To(Succeed())
			Expect(probe.Status.LastRunTime).To(BeNil(), "a run is recorded as started that is not")
			left := 3
			if ended {
				for i := range half {
					endWell(ctx, &half[i], startPod(ctx, &half[i]))
				}
				left -= made
			}

			startAgent(ns, listen)
			visited := visit(ctx, probe, 1, left)
			if !ended {
				Expect(visited).To(Equal([]string{"a", "b", "c"}))
			}
			outcome := outcomeOf(ctx, ns, "every")
			Expect(outcome.History).To(HaveLen(1))
			Expect(outcome.LastRunID).To(Equal(half[0].Labels[kubeproberv1.RunIDLabel]), "what was begun is thrown away")
			Expect(outcome.Status).To(Equal(kubeproberv1.CheckerPass), outcome.Message)
			Expect(outcome.Checkers).To(HaveLen(3))
		})
	}
})

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

var _ = Describe("A changed policy", func() {
	It("changes at once how long results are trusted", func(ctx SpecContext) {
		ns, seen := newNamespace(ctx), map[string]bool{}
		startAgent(ns)
		probe := createProbe(ctx, ns, "k8s", everyMinutes(30))
		finishNext(ctx, ns, "k8s", seen)
		due := probe.CreationTimestamp.Time
		Expect(outcomeOf(ctx, ns, "k8s").StaleTime.Time).To(BeTemporally("==", due.Add(time.Hour)))
		for _, minutes := range []int32{60, 10, 0} {
			before := probe.DeepCopy()
			probe.Spec.Policy.RunInterval = &minutes
			Expect(api.Patch(ctx, probe, client.MergeFrom(before))).To(Succeed())
			Eventually(func(g Gomega) {
				stale := outcomeOf(ctx, ns, "k8s").StaleTime
				if minutes == 0 {
					g.Expect(stale).To(BeNil())
					return
				}
				g.Expect(stale.Time).To(BeTemporally("==", due.Add(2*time.Duration(minutes)*time.Minute)))
			}, "3s").Should(Succeed(), "%d minutes", minutes)
			if minutes == 0 {
				// Without an interval each generation is run once.
				finishNext(ctx, ns, "k8s", seen)
			}
		}
	})
})
