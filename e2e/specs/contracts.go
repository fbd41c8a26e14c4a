// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// contract is a container that knows nothing of Kubeprober, or speaks to it in a way of its own.
type contract struct {
	// title completes "takes".
	title string
	// name of the Probe.
	name    string
	script  string
	changes []change
	// verdicts that are published, and what the message of one of them must match.
	verdicts []string
	message  string
}

var contracts = []contract{
	{
		title: "exit code 0 for PASS", name: "exit-0", script: "echo looking; echo all 3 disks are there",
		verdicts: []string{"checker=PASS"}, message: "^all 3 disks are there$",
	},
	{
		title: "exit code 1 for ERROR", name: "exit-1", script: "echo looking >&2; echo disk 2 is gone >&2; exit 1",
		verdicts: []string{"checker=ERROR"}, message: "^disk 2 is gone$",
	},
	{
		title: "exit code 2 for UNKNOWN", name: "exit-2", script: "echo the disks cannot be asked; exit 2",
		verdicts: []string{"checker=UNKNOWN"}, message: "the disks cannot be asked",
	},
	{
		title: "the termination message before the log", name: "exit-message", script: "echo noise; echo disk 1 is slow >/dev/termination-log; exit 1",
		verdicts: []string{"checker=ERROR"}, message: "^disk 1 is slow$",
	},
	{
		title: "lines on stdout", name: "lines-stdout",
		script:   "echo starting; echo 'disk-1 ok fast enough'; echo 'disk-2 ERROR gone for good'; echo 'disk-3 warn nearly full'; echo done",
		verdicts: []string{"disk-1=PASS", "disk-2=ERROR", "disk-3=WARN"}, message: "^gone for good$",
	},
	{
		title: "lines in the termination message", name: "lines-message",
		script:   "printf '%s\\n' 'disk-1 ok fast enough' 'disk-2 info a new one' >/dev/termination-log",
		verdicts: []string{"disk-1=PASS", "disk-2=INFO"}, message: "^a new one$",
	},
	{
		title: "no verdict from a line that is none", name: "lines-odd",
		script:   "echo 'disk-1 ok fast enough'; echo 'disk-2 failed since yesterday'",
		verdicts: []string{"disk-1=PASS", "lines-odd=UNKNOWN"}, message: "InvalidOutput: .*disk-2 failed since yesterday",
	},
	{
		title: "Kuberhealthy's report of success", name: "kh-ok",
		script: `curl --fail-with-body -sS -X POST -H "kh-run-uuid: $KH_RUN_UUID" -H 'Content-Type: application/json' ` +
			`-d '{"ok":true,"errors":[]}' "$KH_REPORTING_URL" && [[ $KH_POD_NAMESPACE == kubeprober && $KH_CHECK_RUN_DEADLINE -gt $(date +%s) ]]`,
		verdicts: []string{"kh-ok=PASS"},
	},
	{
		title: "Kuberhealthy's report of failure", name: "kh-bad",
		script: `curl --fail-with-body -sS -X POST -H "kh-run-uuid: $KH_RUN_UUID" -H 'Content-Type: application/json' ` +
			`-d '{"ok":false,"errors":["the volume was not bound","nor was the other"]}' "$KH_REPORTING_URL"`,
		verdicts: []string{"kh-bad=ERROR"}, message: "the volume was not bound.*nor was the other",
	},
	{
		title: "no verdict from a report that it refused", name: "refused",
		script: `curl -sS -H 'Content-Type: application/json' -d '{"checkers":[{"name":"a","status":"SPLENDID"}]}' "$KUBEPROBER_STATUS_REPORT_URL"; exit 0`,
		// The exit code is none of a container that reports.
		verdicts: []string{"refused=UNKNOWN"}, message: "NoReport: .*refused.*400",
	},
	{
		title: "a report before lines and exit code", name: "report-first",
		script:   `report-status --name=real --status=pass --message=reported; echo 'other error only a line'`,
		verdicts: []string{"real=PASS"}, message: "^reported$",
	},
}

// Contracts is about the ways in which a container may say what it found: each becomes the verdict that it means.
func Contracts(input func() Input) {
	It("starts a checker for each contract", func(ctx SpecContext) {
		in := input()
		for _, c := range contracts {
			create(ctx, in.Managed, in.local(c.name, c.script, c.changes...))
		}
	})
	for _, c := range contracts {
		It("takes "+c.title, func(ctx SpecContext) {
			in := input()
			outcome := awaitRuns(ctx, in.Managed, c.name, 1, diagnose)
			Expect(verdicts(outcome)).To(Equal(c.verdicts), "%v", outcome)
			expectMessage(outcome, c.message)
		})
	}
}

// expectMessage expects that one of the checkers says something.
func expectMessage(outcome *kubeproberv1.ProbeOutcome, message string) {
	GinkgoHelper()
	said := make([]string, 0, len(outcome.Checkers))
	for _, r := range outcome.Checkers {
		said = append(said, r.Message)
	}
	Expect(said).To(ContainElement(MatchRegexp(message)))
}

// languages are the checkers of e2e/checkers, and the verdicts of each.
var languages = map[string][]string{
	"shell":  {"shell-api=PASS", "shell-dns=PASS", "shell-tmp=PASS"},
	"go":     {"go-api=PASS", "go-dns=PASS", "go-unsure=UNKNOWN"},
	"python": {"python-api=PASS", "python-dns=PASS"},
}

// TestImages are the images that only the suites need.
func (in Input) TestImages() []string {
	return []string{in.image("e2e-checker-shell"), in.image("e2e-checker-go"), in.image("e2e-checker-python"), in.image("e2e-as-root")}
}

// Languages is about checkers that were written with nothing but the documentation at hand.
func Languages(input func() Input) {
	It("starts a checker in each language", func(ctx SpecContext) {
		in := input()
		for language := range languages {
			create(ctx, in.Managed, in.local("in-"+language, "", withImage(in.image("e2e-checker-"+language))))
		}
	})
	for language, want := range languages {
		It("takes the reports of a checker in "+language, func(ctx SpecContext) {
			outcome := awaitRuns(ctx, input().Managed, "in-"+language, 1, diagnose)
			Expect(verdicts(outcome)).To(Equal(want), "%v", outcome)
		})
	}
}
