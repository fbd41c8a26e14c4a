// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestNamesAreValidAndDistinct(t *testing.T) {
	long := strings.Repeat("a", 63)
	names := map[string]string{}
	for what, name := range map[string]string{
		"a short one":               ID("k8s", "uid", "1763812800"),
		"a long one":                ID(long, "uid", "1763812800"),
		"its next run":              ID(long, "uid", "1763812860"),
		"a Probe made anew":         ID("k8s", "uid-2", "1763812800"),
		"a dotted key":              ID("k8s", "uid", "my.run.of.today"),
		"one that ends in a dash":   ID(strings.Repeat("a", 47)+"-b", "uid", "1"),
		"the Job for a node":        JobName(ID(long, "uid", "1"), "ip-10-0-0-1.ec2.internal"),
		"the Job for another node":  JobName(ID(long, "uid", "1"), "ip-10-0-0-2.ec2.internal"),
		"a probe named like a run":  ID("k8s-1763812800", "uid", "g1"),
		"the run of a probe called": ID("k8s", "uid", "1763812800-g1"),
	} {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 || len(name) > maxNameLength {
			t.Errorf("%s: %q: %v", what, name, problems)
		}
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s have the name %q", what, other, name)
		}
		names[name] = what
	}
	if !strings.HasPrefix(ID("k8s", "uid", "1763812800"), "k8s-1763812800-") {
		t.Error("the name of a run does not tell of probe and time")
	}
	if LabelValue("short") != "short" || len(LabelValue(strings.Repeat("x", 253))) > 63 {
		t.Error("a label value is not bounded")
	}
}

func testRun(template corev1.PodSpec) *Run {
	return &Run{
		ID: "k8s-1", Namespace: "kubeprober", Probe: "k8s", Owner: metav1.OwnerReference{Name: "k8s", UID: "uid"},
		Spec: &kubeproberv1.ProbeSpec{Template: template, Configs: []kubeproberv1.ProbeConfig{
			{Name: "first", Env: []corev1.EnvVar{{Name: "A", Value: "first"}, {Name: "B", Value: "first"}}},
			{Name: "second", Env: []corev1.EnvVar{{Name: "B", Value: "second"}, {Name: "C", Value: "second"}, {Name: report.EnvRunID, Value: "forged"}}},
		}},
		Due: time.Unix(100, 0), Deadline: time.Unix(160, 0),
	}
}

func TestEveryContainerGetsTheEnvironment(t *testing.T) {
	template := corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "init"}},
		Containers: []corev1.Container{{
			Name: "own", Env: []corev1.EnvVar{{Name: "C", Value: "own"}, {Name: report.EnvNodeName, Value: "own"}},
			EnvFrom: []corev1.EnvFromSource{{Prefix: "own"}},
		}, {Name: "second"}},
	}
	job := BuildJob(testRun(template), "", "http://url", time.Unix(100, 0))
	spec := job.Spec.Template.Spec
	common := map[string]string{
		report.EnvProbeNamespace: "kubeprober", report.EnvProbeName: "k8s", report.EnvReportURL: "http://url", report.EnvRunID: "k8s-1",
		report.EnvRunDeadline: "1970-01-01T00:02:40Z", "A": "first", "B": "second",
	}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		env := map[string]corev1.EnvVar{}
		for _, v := range c.Env {
			if _, twice := env[v.Name]; twice {
				t.Errorf("container %s has %s twice", c.Name, v.Name)
			}
			env[v.Name] = v
		}
		for name, want := range common {
			if env[name].Value != want {
				t.Errorf("container %s has %s=%q, want %q", c.Name, name, env[name].Value, want)
			}
		}
		wantC := "second"
		if c.Name == "own" {
			wantC = "own"
			if env[report.EnvNodeName].Value != "own" {
				t.Error("the container's own NODE_NAME does not win")
			}
		} else if env[report.EnvNodeName].ValueFrom == nil {
			t.Errorf("container %s has no NODE_NAME", c.Name)
		}
		if env["C"].Value != wantC {
			t.Errorf("container %s has C=%q, want %q", c.Name, env["C"].Value, wantC)
		}
		if extra := c.EnvFrom[0].ConfigMapRef; extra == nil || extra.Name != kubeproberv1.ExtraConfigName || !*extra.Optional {
			t.Errorf("container %s does not get extra-config first", c.Name)
		}
	}
	if len(template.Containers[0].Env) != 2 {
		t.Error("the template was changed")
	}
}

func TestAJobIsBoundedAndSaysWhatItIsFor(t *testing.T) {
	r := testRun(corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}})
	r.ProbeRun, r.Generation = strings.Repeat("r", 200), 3
	job := BuildJob(r, "node-1", "http://url", time.Unix(100, 0))
	if *job.Spec.BackoffLimit != 0 || *job.Spec.ActiveDeadlineSeconds != 70 || job.Spec.TTLSecondsAfterFinished != nil {
		t.Errorf("spec %+v", job.Spec)
	}
	spec := job.Spec.Template.Spec
	if spec.RestartPolicy != corev1.RestartPolicyNever || spec.ServiceAccountName != WorkerServiceAccount {
		t.Errorf("restartPolicy %s, service account %s", spec.RestartPolicy, spec.ServiceAccountName)
	}
	for _, labels := range []map[string]string{job.Labels, job.Spec.Template.Labels} {
		if labels[kubeproberv1.ProbeLabel] != "k8s" || labels[kubeproberv1.RunIDLabel] != "k8s-1" || len(labels[kubeproberv1.ProbeRunLabel]) > 63 {
			t.Errorf("labels %v", labels)
		}
	}
	want := Meta{RunID: "k8s-1", Node: "node-1", Due: time.Unix(100, 0).UTC(), Deadline: time.Unix(160, 0).UTC(), Generation: 3}
	if got := MetaOf(job); got != want {
		t.Errorf("the Job says %+v, want %+v", got, want)
	}
	job.Annotations = nil
	if got := MetaOf(job); !got.Deadline.IsZero() {
		t.Errorf("a spoilt Job says %+v", got)
	}
}

func TestPodsAreRestrictedUnlessTheTemplateAsksForMore(t *testing.T) {
	type field struct {
		nonRoot    *bool
		escalation *bool
		drop       int
	}
	tests := map[string]struct {
		spec corev1.PodSpec
		want field
	}{
		"a plain template": {want: field{nonRoot: ptr.To(true), escalation: ptr.To(false), drop: 1}},
		"a host namespace": {spec: corev1.PodSpec{HostPID: true}, want: field{escalation: ptr.To(false), drop: 1}},
		"user 0":           {spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0)}}, want: field{escalation: ptr.To(false), drop: 1}},
		"its own answer": {
			spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(false)}},
			want: field{nonRoot: ptr.To(false), escalation: ptr.To(false), drop: 1},
		},
		"a privileged container": {spec: withSecurity(corev1.SecurityContext{Privileged: ptr.To(true)}), want: field{}},
		"an added capability": {
			spec: withSecurity(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_RAW"}}}),
			want: field{nonRoot: ptr.To(true), escalation: ptr.To(false), drop: 1},
		},
		"SYS_ADMIN, which needs escalation": {
			spec: withSecurity(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}),
			want: field{nonRoot: ptr.To(true), drop: 1},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if len(test.spec.Containers) == 0 {
				test.spec.Containers = []corev1.Container{{Name: "c"}}
			}
			spec := BuildJob(testRun(test.spec), "", "http://url", time.Unix(100, 0)).Spec.Template.Spec
			own := spec.Containers[0].SecurityContext
			drop := 0
			if own.Capabilities != nil {
				drop = len(own.Capabilities.Drop)
			}
			got := field{nonRoot: spec.SecurityContext.RunAsNonRoot, escalation: own.AllowPrivilegeEscalation, drop: drop}
			if !ptr.Equal(got.nonRoot, test.want.nonRoot) || !ptr.Equal(got.escalation, test.want.escalation) || got.drop != test.want.drop {
				t.Errorf("runAsNonRoot %v, escalation %v, drop %d", got.nonRoot, got.escalation, got.drop)
			}
			if spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Error("no seccomp profile")
			}
		})
	}
}

func withSecurity(c corev1.SecurityContext) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "c", SecurityContext: &c}}}
}

func TestNodesThatATemplateMayRunOn(t *testing.T) {
	taint := func(key string, effect corev1.TaintEffect) corev1.NodeSpec {
		return corev1.NodeSpec{Taints: []corev1.Taint{{Key: key, Effect: effect}}}
	}
	tests := map[string]struct {
		template corev1.PodSpec
		node     corev1.NodeSpec
		selected bool
		whyNot   string
	}{
		"a plain node":                      {selected: true},
		"one that is not selected":          {template: corev1.PodSpec{NodeSelector: map[string]string{"zone": "b"}}},
		"one that is selected":              {template: corev1.PodSpec{NodeSelector: map[string]string{"zone": "a"}}, selected: true},
		"a cordoned one":                    {node: corev1.NodeSpec{Unschedulable: true}, selected: true, whyNot: "cordoned"},
		"a tainted one":                     {node: taint("special", corev1.TaintEffectNoSchedule), selected: true, whyNot: "taint special:NoSchedule"},
		"a soft taint":                      {node: taint("special", corev1.TaintEffectPreferNoSchedule), selected: true},
		"one that is not ready, to be told": {node: taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule), selected: true},
		"a tolerated taint": {
			template: corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}},
			node:     taint("special", corev1.TaintEffectNoExecute), selected: true,
		},
		"a tolerated cordon": {
			template: corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}},
			node:     corev1.NodeSpec{Unschedulable: true}, selected: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}}, Spec: test.node}
			selected, whyNot := NodeFits(&test.template, node)
			if selected != test.selected || whyNot != test.whyNot {
				t.Errorf("selected %v, why not %q", selected, whyNot)
			}
		})
	}
}

func TestAPinHoldsInEveryAlternative(t *testing.T) {
	term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: corev1.NodeSelectorOpExists}}}
	template := corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term, term}},
	}}}
	pinToNode(&template, "n")
	for _, term := range template.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(term.MatchFields) != 1 || term.MatchFields[0].Values[0] != "n" || len(term.MatchExpressions) != 1 {
			t.Errorf("term %+v", term)
		}
	}
}
