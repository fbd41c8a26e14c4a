// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestAVerdictThatNoCheckerExplainsHasARowOfItsOwn(t *testing.T) {
	status := &kubeproberv1.ProbeStatus{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}}
	status.Status = kubeproberv1.ProbeOutcome{
		Status: kubeproberv1.CheckerUnknown, Message: "DeadlineExceeded",
		Checkers: []kubeproberv1.CheckerResult{{Name: "dns", Status: kubeproberv1.CheckerPass}},
	}
	results := FromStatus("", status, now)
	if len(results) != 2 || results[1].Checker != "" || results[1].Status != "UNKNOWN" || results[1].Message != "DeadlineExceeded" {
		t.Errorf("unexpected results %+v", results)
	}
}

func TestAResultIsStaleFromItsTimeOn(t *testing.T) {
	status := &kubeproberv1.ProbeStatus{}
	status.Status.Status = kubeproberv1.CheckerPass
	status.Status.Checkers = []kubeproberv1.CheckerResult{{Name: "dns", Status: kubeproberv1.CheckerPass}}
	for offset, stale := range map[time.Duration]bool{-time.Second: true, 0: true, time.Second: false} {
		status.Status.StaleTime = &metav1.Time{Time: now.Add(offset)}
		if got := FromStatus("", status, now)[0].Stale; got != stale {
			t.Errorf("%s away: stale %v, expected %v", offset, got, stale)
		}
	}
}

func TestVerdict(t *testing.T) {
	row := func(status string) Result { return Result{Prober: "p", Checker: "c", Status: status} }
	stale := row("ERROR")
	stale.Stale = true
	for _, tc := range []struct {
		name    string
		failOn  FailOn
		results []Result
		code    int
	}{
		{"good results are fine", FailOnWarn, []Result{row("PASS"), row("INFO")}, exit.OK},
		{"no results are fine", FailOnWarn, nil, exit.OK},
		{"ERROR wins", FailOnWarn, []Result{row("WARN"), row("UNKNOWN"), row("ERROR")}, exit.Failed},
		{"what could not be judged wins over WARN", FailOnWarn, []Result{row("WARN"), row("UNKNOWN")}, exit.Incomplete},
		{"WARN counts when asked for", FailOnWarn, []Result{row("WARN"), row("PASS")}, exit.Warned},
		{"WARN does not count otherwise", FailOnError, []Result{row("WARN")}, exit.OK},
		{"a stale ERROR is no verdict", FailOnError, []Result{stale}, exit.Incomplete},
		{"a probe that runs is no verdict", FailOnError, []Result{row("Running")}, exit.Incomplete},
		{"nothing counts when asked so", FailNever, []Result{row("ERROR")}, exit.OK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if code := exit.Code(tc.failOn.Verdict(Count(tc.results))); code != tc.code {
				t.Errorf("exit code %d, expected %d", code, tc.code)
			}
		})
	}
}

func TestCellsCannotHarmATerminal(t *testing.T) {
	for _, text := range []string{"\x1b[2J", "a\rb", "\u009b31m", "a\u202eb", "a\nb\tc"} {
		if got := cell(text); strings.ContainsAny(got, "\x1b\r\n\t\u009b\u202e") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := cell(" \n"); got != None {
		t.Errorf("an empty cell is %q", got)
	}
}

func TestColumnsStayAlignedBehindTextThatIsNotASCII(t *testing.T) {
	var out bytes.Buffer
	results := []Result{
		{Prober: "k8s", Checker: "plain", Status: "PASS", Message: "short", LastRun: &metav1.Time{Time: now.Add(-time.Hour)}},
		{Prober: "k8s", Checker: "ümläut", Status: "ERROR", Message: "größer als … 81 % belegt", LastRun: &metav1.Time{Time: now.Add(-time.Hour)}},
	}
	if err := NewFlags("").Table(&out, ResultsTable(results, false, now)); err != nil {
		t.Fatal(err)
	}
	places := map[int]bool{}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		for _, word := range []string{"LASTRUN", "60m"} {
			if at := strings.Index(line, word); at >= 0 {
				places[utf8.RuneCountInString(line[:at])] = true
			}
		}
	}
	if len(places) != 1 {
		t.Errorf("LASTRUN begins at %v in\n%s", places, out.String())
	}
}

func TestMessagesGiveWayOnATerminal(t *testing.T) {
	made := ResultsTable([]Result{
		{Prober: "k8s", Checker: "dns", Status: "PASS", Message: strings.Repeat("long ", 50), LastRun: &metav1.Time{Time: now.Add(-time.Hour)}},
		{Prober: "k8s", Checker: "pod", Status: "PASS", Message: "short"},
		{Prober: "k8s", Checker: "wide", Status: "PASS", Message: strings.Repeat("größer 更大 ", 20)},
	}, false, now)
	fit(made, messageColumn, 80)
	var out bytes.Buffer
	if err := NewFlags("").Table(&out, made); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 80 {
			t.Errorf("a row of %d columns on a terminal of 80: %s", n, line)
		}
	}
	if !strings.Contains(out.String(), "…") || !strings.Contains(out.String(), "60m") || !strings.Contains(out.String(), "short") {
		t.Errorf("unexpected table\n%s", out.String())
	}
}
