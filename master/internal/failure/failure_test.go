// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package failure

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTextsOfRepeatedFailures(t *testing.T) {
	start := time.Now()
	const kind, reason = "Synced", "Failed"
	condition := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: status, Reason: reason}}
	}
	for _, test := range []struct {
		name       string
		object     string
		conditions []metav1.Condition
		after      time.Duration
		want       string
	}{
		{name: "the text stays while the failure does", object: "a", conditions: condition(metav1.ConditionFalse, reason), after: 59 * time.Second, want: "first"},
		{name: "it is renewed after a minute", object: "a", conditions: condition(metav1.ConditionFalse, reason), after: time.Minute, want: "second"},
		{name: "it is renewed after a recovery", object: "a", conditions: condition(metav1.ConditionTrue, "Synced"), after: time.Second, want: "second"},
		{name: "it is renewed after another failure", object: "a", conditions: condition(metav1.ConditionFalse, "Other"), after: time.Second, want: "second"},
		{name: "another object has its own", object: "b", conditions: condition(metav1.ConditionFalse, reason), after: time.Second, want: "second"},
	} {
		t.Run(test.name, func(t *testing.T) {
			texts := &Texts{}
			if got := texts.Steady("a", nil, kind, reason, "first", start); got != "first" {
				t.Fatalf("said %q at first", got)
			}
			if got := texts.Steady(test.object, test.conditions, kind, reason, "second", start.Add(test.after)); got != test.want {
				t.Errorf("said %q, want %q", got, test.want)
			}
		})
	}
}

func TestTextsAreBoundedInLengthAndNumber(t *testing.T) {
	start := time.Now()
	texts := &Texts{}
	if got := len([]rune(texts.Steady("a", nil, "Synced", "Failed", strings.Repeat("x", 2*maxRunes), start))); got != maxRunes {
		t.Errorf("the text has %d characters, want %d", got, maxRunes)
	}
	texts.Steady("b", nil, "Synced", "Failed", "x", start.Add(steadyFor))
	if len(texts.entries) != 1 {
		t.Errorf("%d texts are remembered, want only the new one", len(texts.entries))
	}
}
