// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"errors"
	"fmt"
	"testing"
	"time"
	_ "time/tzdata"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func every(minutes int32) kubeproberv1.ProbePolicy {
	return kubeproberv1.ProbePolicy{RunInterval: &minutes}
}

func cronPolicy(expression, zone string) kubeproberv1.ProbePolicy {
	p := kubeproberv1.ProbePolicy{Schedule: &expression}
	if zone != "" {
		p.TimeZone = &zone
	}
	return p
}

func suspended(p kubeproberv1.ProbePolicy) kubeproberv1.ProbePolicy {
	p.State = kubeproberv1.ProbeSuspended
	return p
}

func TestDecide(t *testing.T) {
	created := at("2026-11-22T10:00:00Z")
	tests := map[string]struct {
		policy  kubeproberv1.ProbePolicy
		history History
		offset  time.Duration
		now     string
		state   string
		due     string
		next    string
	}{
		"runs at once when the probe is new": {
			policy: every(30), now: "2026-11-22T10:00:01Z", state: "Active", due: "2026-11-22T10:00:00Z", next: "2026-11-22T10:30:00Z",
		},
		"waits for its offset before the first run": {
			policy: every(30), offset: 5 * time.Minute, now: "2026-11-22T10:00:01Z", state: "Active", next: "2026-11-22T10:05:00Z",
		},
		"keeps the rhythm of the last run, whatever the offset": {
			policy: every(45), offset: 5 * time.Minute, history: History{LastRun: at("2026-11-22T10:05:00Z")},
			now: "2026-11-22T10:20:00Z", state: "Active", next: "2026-11-22T10:50:00Z",
		},
		"is due to the second": {
			policy: every(45), history: History{LastRun: at("2026-11-22T10:05:00Z")},
			now: "2026-11-22T10:50:00Z", state: "Active", due: "2026-11-22T10:50:00Z", next: "2026-11-22T11:35:00Z",
		},
		"runs once for many missed runs, in the old rhythm": {
			policy: every(45), history: History{LastRun: at("2026-11-22T10:05:00Z")},
			now: "2026-11-22T16:00:00Z", state: "Active", due: "2026-11-22T15:20:00Z", next: "2026-11-22T16:05:00Z",
		},
		"starts a new rhythm when the clock was set back": {
			policy: every(45), history: History{LastRun: at("2027-11-22T10:05:00Z")},
			now: "2026-11-22T16:00:00Z", state: "Active", due: "2026-11-22T16:00:00Z", next: "2026-11-22T16:45:00Z",
		},
		"waits when the last run lies in the future by less than the tolerance": {
			policy: every(45), history: History{LastRun: at("2026-11-22T16:00:30Z")},
			now: "2026-11-22T16:00:00Z", state: "Active", next: "2026-11-22T16:45:30Z",
		},
		"does not wait for the time at which a probe was made by another clock": {
			policy: every(45), offset: time.Hour, now: "2026-11-22T08:00:00Z", state: "Active", due: "2026-11-22T08:00:00Z", next: "2026-11-22T08:45:00Z",
		},
		"runs once when the clock was set forward": {
			policy: every(45), history: History{LastRun: at("2026-11-22T10:05:00Z")},
			now: "2027-11-22T10:06:00Z", state: "Active", due: "2027-11-22T10:05:00Z", next: "2027-11-22T10:50:00Z",
		},
		"runs once when a suspension ends, in the old rhythm": {
			policy: every(45), history: History{LastRun: at("2026-11-20T10:05:00Z")},
			now: "2026-11-22T10:06:00Z", state: "Active", due: "2026-11-22T10:05:00Z", next: "2026-11-22T10:50:00Z",
		},
		"runs nothing while suspended": {
			policy: suspended(every(45)), history: History{LastRun: at("2026-11-22T10:05:00Z")}, now: "2026-11-22T16:00:00Z", state: "Suspended",
		},
		"runs once for a generation without an interval": {
			history: History{Generation: 3, LastGeneration: 2}, now: "2026-11-22T16:00:00Z", state: "Active", due: "2026-11-22T16:00:00Z",
		},
		"treats an interval of 0 as none": {
			policy: every(0), history: History{Generation: 3, LastGeneration: 2}, now: "2026-11-22T16:00:00Z", state: "Active", due: "2026-11-22T16:00:00Z",
		},
		"has nothing more to do when the generation has run": {
			history: History{Generation: 3, LastGeneration: 3, LastRun: at("2026-11-22T15:00:00Z")}, now: "2026-11-22T16:00:00Z", state: "Completed",
		},
		"runs a cron expression first at its next time": {
			policy: cronPolicy("*/45 * * * *", ""), now: "2026-11-22T10:00:01Z", state: "Active", next: "2026-11-22T10:45:00Z",
		},
		"runs a missed cron run once, at its latest time": {
			policy: cronPolicy("* * * * *", ""), history: History{LastRun: at("2025-11-22T10:00:00Z")},
			now: "2026-11-22T10:00:01Z", state: "Active", due: "2026-11-22T10:00:00Z", next: "2026-11-22T10:01:00Z",
		},
		"finds a missed run of a yearly schedule": {
			policy: cronPolicy("@yearly", ""), history: History{LastRun: at("2025-01-01T00:00:00Z")},
			now: "2026-11-22T10:00:01Z", state: "Active", due: "2026-01-01T00:00:00Z", next: "2027-01-01T00:00:00Z",
		},
		"follows daylight saving time": {
			policy: cronPolicy("0 6 * * *", "Europe/Berlin"), history: History{LastRun: at("2027-03-27T05:00:00Z")},
			now: "2027-03-27T10:00:00Z", state: "Active", next: "2027-03-28T04:00:00Z",
		},
		"reads a cron expression in its time zone": {
			policy: cronPolicy("0 6 * * *", "Europe/Berlin"), history: History{LastRun: at("2026-11-22T05:00:00Z")},
			now: "2026-11-22T10:00:01Z", state: "Active", next: "2026-11-23T05:00:00Z",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.history.Created = created
			plan, err := Decide(&test.policy, test.history, test.offset, at(test.now))
			if err != nil {
				t.Fatal(err)
			}
			if plan.State != test.state {
				t.Errorf("state %q, want %q", plan.State, test.state)
			}
			assertTime(t, "due", plan.Due, test.due)
			assertTime(t, "next", plan.Next, test.next)
			if plan.IsDue() != (test.due != "") {
				t.Errorf("IsDue is %v with key %q", plan.IsDue(), plan.Key)
			}
		})
	}
}

func assertTime(t *testing.T, what string, got time.Time, want string) {
	t.Helper()
	if want == "" {
		if !got.IsZero() {
			t.Errorf("%s is %v, want none", what, got)
		}
		return
	}
	if !got.Equal(at(want)) {
		t.Errorf("%s is %v, want %s", what, got, want)
	}
}

func TestDecideIsTheSameForWhoeverComputesIt(t *testing.T) {
	policy := every(1)
	history := History{Created: at("2026-11-22T10:00:00Z")}
	keys := map[string]bool{}
	for second := range 60 {
		plan, err := Decide(&policy, history, 0, at("2026-11-22T10:05:00Z").Add(time.Duration(second)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		keys[plan.Key] = true
	}
	if len(keys) != 1 {
		t.Errorf("one due run has the keys %v", keys)
	}
}

func TestDecideRefusesPoliciesThatCannotBeFollowed(t *testing.T) {
	tests := map[string]kubeproberv1.ProbePolicy{
		"an expression that is none":         cronPolicy("a b c d e", ""),
		"a minute that does not exist":       cronPolicy("61 * * * *", ""),
		"a day that never comes":             cronPolicy("0 0 30 2 *", ""),
		"a time zone that does not exist":    cronPolicy("* * * * *", "Middle/Earth"),
		"the zone of the agent's machine":    cronPolicy("* * * * *", "Local"),
		"a suspended probe's bad expression": suspended(cronPolicy("a b c d e", "")),
	}
	for name, policy := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(&policy, History{Created: at("2026-11-22T10:00:00Z")}, 0, at("2026-11-22T10:00:00Z"))
			if !errors.Is(err, ErrInvalidPolicy) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestOffsetSpreadsAFleet(t *testing.T) {
	const spread = 10 * time.Minute
	var early int
	for i := range 1000 {
		cluster := fmt.Sprintf("cluster-%d", i)
		offset := Offset(cluster, "kubeprober", "k8s", spread)
		if offset != Offset(cluster, "kubeprober", "k8s", spread) {
			t.Fatal("the offset of one cluster and probe changes")
		}
		if offset < 0 || offset >= spread {
			t.Fatalf("offset %v is outside of [0, %v)", offset, spread)
		}
		if offset < spread/2 {
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("%d of 1000 clusters fall into the first half", early)
	}
	if offset := Offset("a", "b", "c", 0); offset != 0 {
		t.Errorf("without a spread the offset is %v", offset)
	}
}

func TestStaleTimeIsTheSecondRunAfter(t *testing.T) {
	last := at("2026-11-22T10:00:00Z")
	interval, expression, once := every(30), cronPolicy("0 */6 * * *", ""), kubeproberv1.ProbePolicy{}
	assertTime(t, "stale time of an interval", StaleTime(&interval, last), "2026-11-22T11:00:00Z")
	assertTime(t, "stale time of a schedule", StaleTime(&expression, last), "2026-11-22T18:00:00Z")
	assertTime(t, "stale time of a probe that runs once", StaleTime(&once, last), "")
}
