// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// probe is a valid Probe whose spec continues with the given lines, indented by two.
func probe(policy string) string {
	return "kind: Probe\nmetadata: {name: p}\nspec:\n  policy: " + policy +
		"\n  template: {containers: [{name: c, image: i}], restartPolicy: Never}\n"
}

func TestValidObjectsAreTaken(t *testing.T) {
	for name, manifest := range map[string]string{
		"a Cluster by its name alone":         "kind: Cluster\nmetadata: {name: erda-cloud}\n",
		"a Cluster with labels of probes":     "kind: Cluster\nmetadata: {name: c, labels: {probe/k8s: 'true'}}\n",
		"a Cluster with a name of 63":         "kind: Cluster\nmetadata: {name: " + strings.Repeat("c", 63) + "}\n",
		"a Cluster with extra information":    "kind: Cluster\nmetadata: {name: c}\nspec: {extraInfo: [{name: REGION, value: eu}, {name: EMPTY}]}\n",
		"the Probe of the walkthrough":        walkthroughProbe,
		"a Probe that runs once":              "kind: Probe\nmetadata: {name: p}\nspec: {template: {containers: [{name: c, image: i}]}}\n",
		"a Probe with an interval of 0":       probe("{runInterval: 0}"),
		"a Probe with a spread interval":      probe("{runInterval: 45, runIntervalRandom: 45}"),
		"a Probe with a cron expression":      probe("{schedule: '*/45 2-4 * * MON', timeZone: Europe/Berlin}"),
		"a Probe with a named schedule":       probe("{schedule: '@hourly'}"),
		"a Probe with a schedule and no runs": probe("{schedule: '@hourly', runInterval: 0}"),
		"a Probe with every other policy":     probe("{runInterval: 5, timeoutSeconds: 60, failureThreshold: 3, state: Suspended, placement: EveryNode}"),
		"a Probe that restarts on failure":    "kind: Probe\nmetadata: {name: p}\nspec: {template: {containers: [{name: c, image: i}], restartPolicy: OnFailure}}\n",
		"a Probe with a name of 63":           strings.Replace(probe("{}"), "name: p}", "name: "+strings.Repeat("p", 63)+"}", 1),
		"a ProbeRun of all attached probes":   "kind: ProbeRun\nmetadata: {name: '1630566675'}\nspec: {clusterName: erda-cloud}\n",
		"a ProbeRun of some probes":           "kind: ProbeRun\nmetadata: {name: '1630566675'}\nspec: {clusterName: erda-cloud, probes: [{name: k8s}, {name: host}], ttlSecondsAfterFinished: 0}\n",
		"a ProbeRun with the spec filled in":  "kind: ProbeRun\nmetadata: {name: '1'}\nspec: {probes: [{name: k8s, spec: {template: {containers: [{name: c, image: i}]}}}]}\n",
		"a ProbeStatus":                       "kind: ProbeStatus\nmetadata: {name: k8s}\nstatus: {status: PASS, checkers: [{name: dns, status: PASS}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if err := started.client.Create(t.Context(), parse(t, manifest), client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInvalidObjectsAreRefusedWithAReason(t *testing.T) {
	for name, tc := range map[string]struct{ manifest, want string }{
		"a Cluster name that is no DNS label": {"kind: Cluster\nmetadata: {name: erda.cloud}\n", "the name of a Cluster must be a DNS label"},
		"a Cluster name of 64":                {"kind: Cluster\nmetadata: {name: " + strings.Repeat("c", 64) + "}\n", "the name of a Cluster must be a DNS label"},
		"extra information twice":             {"kind: Cluster\nmetadata: {name: c}\nspec: {extraInfo: [{name: A}, {name: A}]}\n", `Duplicate value: {"name":"A"}`},
		"extra information of a bad name":     {"kind: Cluster\nmetadata: {name: c}\nspec: {extraInfo: [{name: 'A B'}]}\n", "spec.extraInfo[0].name"},
		"extra information without a name":    {"kind: Cluster\nmetadata: {name: c}\nspec: {extraInfo: [{value: b}]}\n", "spec.extraInfo[0].name: Required value"},
		"a Probe without a spec":              {"kind: Probe\nmetadata: {name: p}\n", "spec: Required value"},
		"a Probe without a template":          {"kind: Probe\nmetadata: {name: p}\nspec: {policy: {runInterval: 1}}\n", "spec.template: Required value"},
		"a Probe without containers":          {"kind: Probe\nmetadata: {name: p}\nspec: {template: {containers: []}}\n", "template needs at least one container"},
		"a Probe that never ends":             {"kind: Probe\nmetadata: {name: p}\nspec: {template: {containers: [{name: c, image: i}], restartPolicy: Always}}\n", "template.restartPolicy must be Never or OnFailure"},
		"a Probe name of 64":                  {strings.Replace(probe("{}"), "name: p}", "name: "+strings.Repeat("p", 64)+"}", 1), "the name of a Probe must be at most 63 characters"},
		"an interval and a schedule":          {probe("{runInterval: 5, schedule: '@hourly'}"), "schedule and runInterval exclude each other"},
		"a negative interval":                 {probe("{runInterval: -1}"), "should be greater than or equal to 0"},
		"an interval of over a year":          {probe("{runInterval: 525601}"), "should be less than or equal to 525600"},
		"a spread without an interval":        {probe("{runIntervalRandom: 5}"), "it must not be larger, and needs runInterval"},
		"a spread over the interval":          {probe("{runInterval: 5, runIntervalRandom: 6}"), "it must not be larger, and needs runInterval"},
		"a schedule of four fields":           {probe("{schedule: '* * * *'}"), "schedule must be a cron expression of five fields"},
		"a schedule of an interval word":      {probe("{schedule: '@every 5m'}"), "schedule must be a cron expression of five fields"},
		"a time zone without a schedule":      {probe("{timeZone: UTC}"), "timeZone needs schedule"},
		"a timeout of 0":                      {probe("{timeoutSeconds: 0}"), "should be greater than or equal to 1"},
		"a failure threshold of 0":            {probe("{failureThreshold: 0}"), "should be greater than or equal to 1"},
		"an unknown state":                    {probe("{state: Paused}"), `Unsupported value: "Paused"`},
		"an unknown placement":                {probe("{placement: SomeNode}"), `Unsupported value: "SomeNode"`},
		"configs of the same name":            {"kind: Probe\nmetadata: {name: p}\nspec: {configs: [{name: a}, {name: a}], template: {containers: [{name: c, image: i}]}}\n", `Duplicate value: {"name":"a"}`},
		"a ProbeRun of no probes":             {"kind: ProbeRun\nmetadata: {name: '1'}\nspec: {clusterName: c, probes: []}\n", "spec.probes"},
		"a ProbeRun of a probe twice":         {"kind: ProbeRun\nmetadata: {name: '1'}\nspec: {clusterName: c, probes: [{name: a}, {name: a}]}\n", `Duplicate value: {"name":"a"}`},
		"a ProbeRun of a bad spec":            {"kind: ProbeRun\nmetadata: {name: '1'}\nspec: {probes: [{name: a, spec: {template: {containers: []}}}]}\n", "template needs at least one container"},
		"a ProbeRun with a negative lifetime": {"kind: ProbeRun\nmetadata: {name: '1'}\nspec: {clusterName: c, ttlSecondsAfterFinished: -1}\n", "should be greater than or equal to 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := started.client.Create(t.Context(), parse(t, tc.manifest), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestInvalidStatusesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ object, status, want string }{
		"a word that is no verdict":   {"kind: ProbeStatus\nmetadata: {name: s1}\n", "{status: GREEN}", `Unsupported value: "GREEN"`},
		"a message over the bound":    {"kind: ProbeStatus\nmetadata: {name: s2}\n", "{message: '" + strings.Repeat("m", 1025) + "'}", "Too long"},
		"a word that is no phase":     {"kind: ProbeRun\nmetadata: {name: '3'}\nspec: {clusterName: c}\n", "{phase: Done}", `Unsupported value: "Done"`},
		"more diagnoses than five":    {"kind: Cluster\nmetadata: {name: s4}\n", "{onceProbeList: [{id: a}, {id: b}, {id: c}, {id: d}, {id: e}, {id: f}]}", "must have at most 5 items"},
		"a history of more than 20":   {"kind: ProbeStatus\nmetadata: {name: s5}\n", "{history: [" + strings.Repeat("{runID: a, start: '2026-11-22T12:00:00Z', status: PASS},", 21) + "]}", "must have at most 20 items"},
		"the same probe listed twice": {"kind: Cluster\nmetadata: {name: s6}\n", "{attachedProbes: [a, a]}", "Duplicate value"},
	} {
		t.Run(name, func(t *testing.T) {
			object := parse(t, tc.object)
			if err := started.client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			status := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.status), &status); err != nil {
				t.Fatal(err)
			}
			object.Object["status"] = status
			err := started.client.Status().Update(t.Context(), object)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestAProbeRunCannotBeChanged(t *testing.T) {
	for name, tc := range map[string]struct{ id, spec, want string }{
		"not its cluster":    {"101", "{clusterName: other, probes: [{name: k8s}]}", "clusterName cannot be changed"},
		"not its probes":     {"102", "{clusterName: c, probes: [{name: host}]}", "probes cannot be changed"},
		"not to more probes": {"103", "{clusterName: c, probes: [{name: k8s}, {name: host}]}", "probes cannot be changed"},
		"not to all probes":  {"104", "{clusterName: c}", "probes cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			object := parse(t, "kind: ProbeRun\nmetadata: {name: '"+tc.id+"'}\nspec: {clusterName: c, probes: [{name: k8s}]}\n")
			if err := started.client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			spec := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			object.Object["spec"] = spec
			err := started.client.Update(t.Context(), object)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestColumnsAreThoseOfTheWalkthrough(t *testing.T) {
	for kind, want := range map[string]string{
		"clusters":      "NAME READY VERSION NODECOUNT PROBENAMESPACE PROBE TOTAL/ERROR HEARTBEATTIME AGE",
		"probes":        "NAME RUNINTERVAL IMAGE AGE",
		"probestatuses": "NAME STATUS MESSAGE LASTRUN AGE",
		"proberuns":     "NAME CLUSTER PROBES STATUS FINISHTIME AGE",
	} {
		t.Run(kind, func(t *testing.T) {
			manifest := map[string]string{
				"clusters": "kind: Cluster\nmetadata: {name: columns}\n", "probes": strings.Replace(probe("{}"), "name: p}", "name: columns}", 1),
				"probestatuses": "kind: ProbeStatus\nmetadata: {name: columns}\n", "proberuns": "kind: ProbeRun\nmetadata: {name: columns}\n",
			}[kind]
			if err := started.client.Create(t.Context(), parse(t, manifest)); err != nil {
				t.Fatal(err)
			}
			output, err := started.kubectl("get", kind+".kubeprober.erda.cloud", "columns")
			if err != nil {
				t.Fatal(err)
			}
			header, _, _ := strings.Cut(output, "\n")
			if got := strings.Join(strings.Fields(header), " "); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// walkthroughProbe is the Probe of the user's walkthrough.
const walkthroughProbe = `
kind: Probe
metadata:
  name: k8s
spec:
  policy:
    runInterval: 30            # minutes
  template:
    containers:
      - name: k8s
        image: kubeprober/probe-k8s:v0.1.5
        env:
          - name: NODE_NAME
            valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        resources: {requests: {cpu: 10m, memory: 50Mi}}
    restartPolicy: Never
  configs:
    - name: control-plane
      env:
        - {name: PRIVATE_DOMAIN, value: "kubernetes.default"}
        - {name: DNS_CHECK_NAMESPACE, value: "kube-system"}
        - {name: DNS_NODE_SELECTOR, value: "k8s-app=kube-dns"}
        - {name: PUBLIC_DOMAIN, value: "www.baidu.com"}
`
