// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schedule decides when a probe is due. It is pure: it knows times and policies, and nothing of Jobs, of the API
// server or of whether an earlier run has ended.
package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// clockTolerance is how far what has happened may lie in the future before the clock counts as set back.
const clockTolerance = time.Minute

// InFuture tells whether a time lies so far in the future that nothing can have happened then: the clock was set back since.
func InFuture(at, now time.Time) bool { return at.After(now.Add(clockTolerance)) }

// ErrInvalidPolicy is returned for a policy that cannot be followed.
var ErrInvalidPolicy = errors.New("the policy cannot be followed")

// History is what the decision needs to know of the past.
type History struct {
	// Created is when the Probe was made.
	Created time.Time
	// Generation of the Probe's spec.
	Generation int64
	// LastRun is when the latest run was due; zero before the first.
	LastRun time.Time
	// LastGeneration is the generation that the latest run was made from.
	LastGeneration int64
}

// Plan says what to do now and next.
type Plan struct {
	// State is the reason of the Probe's Scheduled condition: Active, Suspended or Completed.
	State string
	// Due is when the run that must start now was due; zero when none must start.
	Due time.Time
	// Key identifies the run among all runs of the Probe: the same due run has the same key, whoever computes it.
	Key string
	// Next is when the run after that is due; zero when there is none.
	Next time.Time
}

// IsDue tells whether a run must start now.
func (p Plan) IsDue() bool { return p.Key != "" }

// Offset is the delay of a probe's first run, fixed for a cluster and a probe and less than spread, in whole seconds.
func Offset(clusterUID, namespace, probe string, spread time.Duration) time.Duration {
	seconds := uint64(spread / time.Second)
	if seconds == 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(clusterUID + "\x00" + namespace + "\x00" + probe))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%seconds) * time.Second
}

// Decide says whether a run is due at now, and when the next one is. Runs that were missed count as one, due at the latest
// of their times. The error is ErrInvalidPolicy with what is wrong.
func Decide(policy *kubeproberv1.ProbePolicy, h History, offset time.Duration, now time.Time) (Plan, error) {
	when, err := timesOf(policy, h, offset)
	if err != nil {
		return Plan{}, err
	}
	switch {
	case policy.Suspended():
		return Plan{State: kubeproberv1.ProbeSuspendedReason}, nil
	case when == nil:
		return decideOnce(h, now), nil
	}
	plan := Plan{State: kubeproberv1.ProbeActiveReason}
	if InFuture(h.LastRun, now) || h.LastRun.IsZero() && InFuture(h.Created, now) {
		// The clock was set back. Waiting for it to catch up could take for ever, so one run starts a new rhythm.
		plan.Due = now.Truncate(time.Second)
		h.LastRun = plan.Due
		if when, err = timesOf(policy, h, offset); err != nil {
			return Plan{}, err
		}
	} else {
		plan.Due = when.latest(now)
	}
	plan.Next = when.after(now)
	if plan.Next.IsZero() {
		return Plan{}, fmt.Errorf("%w: schedule %q never comes due", ErrInvalidPolicy, *policy.Schedule)
	}
	if !plan.Due.IsZero() {
		plan.Key = KeyOfTime(plan.Due)
	}
	return plan, nil
}

func decideOnce(h History, now time.Time) Plan {
	if h.LastGeneration >= h.Generation {
		return Plan{State: kubeproberv1.ProbeCompletedReason}
	}
	return Plan{State: kubeproberv1.ProbeActiveReason, Due: now.Truncate(time.Second), Key: KeyOfGeneration(h.Generation)}
}

// KeyOfTime is the key of a run that was due at a time.
func KeyOfTime(due time.Time) string { return fmt.Sprint(due.Unix()) }

// KeyOfGeneration is the key of the only run of a generation.
func KeyOfGeneration(generation int64) string { return fmt.Sprintf("g%d", generation) }

// StaleTime is when the result of the run that was due at lastRun stops being trusted: when the second run after it is due.
// It is zero for a policy that runs once.
func StaleTime(policy *kubeproberv1.ProbePolicy, lastRun time.Time) time.Time {
	if policy.Schedule != nil {
		expression, err := parse(policy)
		if err != nil {
			return time.Time{}
		}
		stale := lastRun
		for range kubeproberv1.StaleIntervals {
			stale = expression.Next(stale)
		}
		return stale
	}
	if interval := policy.Interval(); interval > 0 {
		return lastRun.Add(kubeproberv1.StaleIntervals * interval)
	}
	return time.Time{}
}

// times is an endless row of due times that begins after the last run.
type times interface {
	// latest is the latest due time that is not after now; zero when there is none.
	latest(now time.Time) time.Time
	// after is the first due time after now; zero when there is none.
	after(now time.Time) time.Time
}

// timesOf returns nil for a policy that runs once.
func timesOf(policy *kubeproberv1.ProbePolicy, h History, offset time.Duration) (times, error) {
	if policy.Schedule != nil {
		expression, err := parse(policy)
		if err != nil {
			return nil, err
		}
		begin := h.LastRun
		if begin.IsZero() {
			begin = h.Created
		}
		return cronTimes{expression: expression, begin: begin}, nil
	}
	interval := policy.Interval()
	if interval <= 0 {
		return nil, nil
	}
	first := h.Created.Add(offset)
	if !h.LastRun.IsZero() {
		first = h.LastRun.Add(interval)
	}
	return intervalTimes{first: first, interval: interval}, nil
}

func parse(policy *kubeproberv1.ProbePolicy) (cron.Schedule, error) {
	zone := "UTC"
	if policy.TimeZone != nil {
		zone = *policy.TimeZone
	}
	// LoadLocation takes "Local" for the zone of this machine, which means nothing to a user.
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return nil, fmt.Errorf("%w: timeZone %q is no IANA time zone, such as Europe/Berlin", ErrInvalidPolicy, zone)
	}
	expression, err := cron.ParseStandard("CRON_TZ=" + zone + " " + *policy.Schedule)
	if err != nil {
		return nil, fmt.Errorf("%w: schedule %q: %w", ErrInvalidPolicy, *policy.Schedule, err)
	}
	return expression, nil
}

type intervalTimes struct {
	first    time.Time
	interval time.Duration
}

func (t intervalTimes) latest(now time.Time) time.Time {
	if now.Before(t.first) {
		return time.Time{}
	}
	since := now.Sub(t.first)
	return t.first.Add(since - since%t.interval)
}

func (t intervalTimes) after(now time.Time) time.Time {
	latest := t.latest(now)
	if latest.IsZero() {
		return t.first
	}
	return latest.Add(t.interval)
}

type cronTimes struct {
	expression cron.Schedule
	begin      time.Time
}

// lookBack are the windows in which the latest due time is looked for, the nearest first, so that a probe that was off for a
// year does not cost half a million steps.
var lookBack = [...]time.Duration{time.Hour, 25 * time.Hour, 32 * 24 * time.Hour, 367 * 24 * time.Hour}

func (t cronTimes) latest(now time.Time) time.Time {
	for _, window := range lookBack {
		begin := now.Add(-window)
		last := !begin.After(t.begin)
		if last {
			begin = t.begin
		}
		var latest time.Time
		for due := t.expression.Next(begin); !due.IsZero() && !due.After(now); due = t.expression.Next(due) {
			latest = due
		}
		if !latest.IsZero() || last {
			return latest
		}
	}
	return time.Time{}
}

func (t cronTimes) after(now time.Time) time.Time { return t.expression.Next(now) }
