// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package proberun_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

func attach(ctx SpecContext, c *testenv.Managed, probe string) {
	GinkgoHelper()
	cluster := &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: c.Name}}
	patch := `{"metadata":{"labels":{"` + kubeproberv1.AttachLabel(probe) + `":"true"}}}`
	Expect(plane.Client.Patch(ctx, cluster, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

var _ = Describe("a ProbeRun", func() {
	It("is handed over with the attached probes filled in, and its results are mirrored", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "host")
		createProbe(ctx, "net")
		attach(ctx, c, "host")
		attach(ctx, c, "net")
		run := createRun(ctx, c.Name, nil)
		Eventually(read).WithArguments(ctx, c.Namespace, run.Name).Should(And(
			HaveField("Labels", HaveKeyWithValue(kubeproberv1.ManagedByLabel, kubeproberv1.ManagedByMaster)),
			HaveField("Spec.Probes", HaveExactElements(
				And(HaveField("Name", "host"), HaveField("Spec.Template.Containers", HaveLen(1))),
				And(HaveField("Name", "net"), HaveField("Spec.Template.Containers", HaveLen(1)))))))
		Eventually(get).WithArguments(ctx, run.Name).Should(And(
			HaveField("Status.Phase", kubeproberv1.RunPending), HaveField("Status.Probes", HaveLen(2)),
			HaveField("Labels", HaveKeyWithValue(kubeproberv1.ClusterLabel, c.Name)),
			HaveField("OwnerReferences", ConsistOf(And(HaveField("Kind", "Cluster"), HaveField("Name", c.Name))))))
		finish(ctx, c, run.Name, kubeproberv1.RunRunning)
		Eventually(get).WithArguments(ctx, run.Name).Should(HaveField("Status.Phase", kubeproberv1.RunRunning))
		finish(ctx, c, run.Name, kubeproberv1.RunSucceeded)
		Eventually(get).WithArguments(ctx, run.Name).WithTimeout(2 * time.Second).Should(And(
			HaveField("Status.Phase", kubeproberv1.RunSucceeded),
			HaveField("Status.FinishTime", Not(BeNil())),
			HaveField("Status.Probes", HaveEach(HaveField("Checkers", ConsistOf(HaveField("Message", "resolved")))))))
		Eventually(func() ([]kubeproberv1.OnceProbeRecord, error) {
			cluster := &kubeproberv1.Cluster{}
			err := plane.Client.Get(ctx, types.NamespacedName{Name: c.Name}, cluster)
			return cluster.Status.OnceProbeList, err
		}).Should(ConsistOf(And(HaveField("ID", run.Name), HaveField("FinishTime", Not(BeNil())), HaveField("Probes", ConsistOf("host", "net")))))
	})

	It("says what it waits for, and goes on by itself", func(ctx SpecContext) {
		run := createRun(ctx, "edge-"+"later", nil, "wanted")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("False ClusterNotFound"))

		c := &testenv.Managed{Name: "edge-later", UID: "later", Namespace: "probes-later", Plane: plane}
		Expect(plane.CreateNamespace(ctx, c.Namespace)).To(Succeed())
		beat(ctx, c)
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("False Disconnected"))
		connect(ctx, c)
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("False ProbeNotFound"))
		createProbe(ctx, "wanted")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("True HandedOver"))

		without := createRun(ctx, c.Name, nil)
		Eventually(accepted).WithArguments(ctx, without.Name).Should(Equal("False NoProbes"))
		attach(ctx, c, "wanted")
		Eventually(accepted).WithArguments(ctx, without.Name).Should(Equal("True HandedOver"))
	})

	It("that brings a spec of its own is finished and never handed over", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "honest")
		run := createRun(ctx, c.Name, func(r *kubeproberv1.ProbeRun) {
			spec := testenv.Probe(testenv.ProbeNamespace, "smuggled").Spec
			r.Spec.Probes = append(r.Spec.Probes, kubeproberv1.RunProbe{Name: "smuggled", Spec: &spec})
		}, "honest")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("False SpecNotAllowed"))
		Eventually(get).WithArguments(ctx, run.Name).Should(And(
			HaveField("Status.Phase", kubeproberv1.RunIncomplete), HaveField("Status.FinishTime", Not(BeNil())),
			HaveField("Status.Conditions", ContainElement(HaveField("Message", ContainSubstring("names smuggled with a spec of its own"))))))
		Consistently(read).WithArguments(ctx, c.Namespace, run.Name).Should(HaveField("Name", BeEmpty()))
	})

	It("does not take over another run of its name", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "taken")
		other := &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: "1700000000"}}
		Expect(plane.Client.Create(ctx, other)).To(Succeed())
		run := createRun(ctx, c.Name, func(r *kubeproberv1.ProbeRun) { r.Name = other.Name }, "taken")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("False NameTaken"))
		Expect(plane.Client.Delete(ctx, run)).To(Succeed())
		Eventually(get).WithArguments(ctx, run.Name).Should(HaveField("Name", BeEmpty()))
		Expect(read(ctx, c.Namespace, other.Name)).To(HaveField("UID", other.UID))
	})

	It("takes its copy with it when it is deleted", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "gone")
		run := createRun(ctx, c.Name, nil, "gone")
		Eventually(read).WithArguments(ctx, c.Namespace, run.Name).Should(HaveField("Name", run.Name))
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("True HandedOver"))
		Expect(plane.Client.Delete(ctx, run)).To(Succeed())
		Eventually(read).WithArguments(ctx, c.Namespace, run.Name).Should(HaveField("Name", BeEmpty()))
		Eventually(get).WithArguments(ctx, run.Name).Should(HaveField("Name", BeEmpty()))
	})

	It("leaves no copy behind in a cluster that was away for too long", func(ctx SpecContext) {
		c := newManaged(ctx)
		for name, labels := range map[string]map[string]string{
			"orphan": {kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster}, "own": nil,
		} {
			Expect(plane.Client.Create(ctx, &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{
				Namespace: c.Namespace, Name: name, Labels: labels, Annotations: map[string]string{fleet.OriginAnnotation: "a-run-of-old"},
			}})).To(Succeed())
		}
		connect(ctx, c)
		Eventually(read).WithArguments(ctx, c.Namespace, "orphan").Should(HaveField("Name", BeEmpty()))
		Consistently(read).WithArguments(ctx, c.Namespace, "own").Should(HaveField("Name", "own"))
	})

	It("ends Incomplete when its copy is deleted in the managed cluster", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "lost")
		run := createRun(ctx, c.Name, nil, "lost")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("True HandedOver"))
		beat(ctx, c)
		copied, err := read(ctx, c.Namespace, run.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, copied)).To(Succeed())
		beat(ctx, c)
		Eventually(get).WithArguments(ctx, run.Name).Should(And(
			HaveField("Status.Phase", kubeproberv1.RunIncomplete),
			HaveField("Status.Probes", ConsistOf(And(HaveField("Phase", kubeproberv1.RunIncomplete), HaveField("Status", kubeproberv1.CheckerUnknown))))))
	})

	It("is removed when its time to live is over", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "shortlived")
		run := createRun(ctx, c.Name, func(r *kubeproberv1.ProbeRun) { r.Spec.TTLSecondsAfterFinished = new(int32(1)) }, "shortlived")
		Eventually(accepted).WithArguments(ctx, run.Name).Should(Equal("True HandedOver"))
		finish(ctx, c, run.Name, kubeproberv1.RunSucceeded)
		Eventually(get).WithArguments(ctx, run.Name).Should(HaveField("Name", BeEmpty()))
		Eventually(read).WithArguments(ctx, c.Namespace, run.Name).Should(HaveField("Name", BeEmpty()))
	})

	It("is removed when twenty newer ones of its cluster exist", func(ctx SpecContext) {
		c := connected(ctx)
		createProbe(ctx, "many")
		var first *kubeproberv1.ProbeRun
		for i := range kubeproberv1.MaxProbeRuns + 1 {
			run := createRun(ctx, c.Name, nil, "many")
			if i == 0 {
				first = run
			}
			finish(ctx, c, run.Name, kubeproberv1.RunSucceeded)
		}
		Eventually(get).WithArguments(ctx, first.Name).Should(HaveField("Name", BeEmpty()))
		Eventually(func() (int, error) {
			runs := &kubeproberv1.ProbeRunList{}
			err := plane.Client.List(ctx, runs, client.InNamespace(c.Namespace))
			return len(runs.Items), err
		}).Should(Equal(kubeproberv1.MaxProbeRuns))
	})
})
