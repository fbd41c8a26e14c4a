// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/agent/internal/schedule"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const interval = time.Minute

// ledger knows which run is due when, and holds against that what the API server shows: every Job that was ever made, and every
// run that a history ever told of.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account
	plays    map[types.UID]*play
	faults   []string
	// until is when the last run that must start is due; zero while that is open.
	until time.Time
	// changed holds a value when something has moved since it was read.
	changed chan struct{}
}

// account is one probe.
type account struct {
	name  string
	slots []*slot
	byRun map[string]*slot
	// open is how many plays go on.
	open  int
	plays []*play
}

// slot is one due time of a probe.
type slot struct {
	due  time.Time
	jobs []types.UID
	// told is the result that the receiver has acknowledged, or that the container has left behind; empty before.
	told   kubeproberv1.CheckerStatus
	record *kubeproberv1.RunRecord
	// ended tells that a Job of it has ended, so that a record must follow.
	ended bool
	// chance tells that an agent ran, and had no other run of the probe under way, while this was the latest due time.
	chance bool
}

func newLedger() *ledger {
	return &ledger{accounts: map[string]*account{}, plays: map[types.UID]*play{}, changed: make(chan struct{}, 1)}
}

// open adds a probe with its due times until an end.
func (l *ledger) open(probe *kubeproberv1.Probe, clusterUID string, end time.Time) {
	a := &account{name: probe.Name, byRun: map[string]*slot{}}
	offset := schedule.Offset(clusterUID, probe.Namespace, probe.Name, probe.Spec.Policy.Spread())
	for due := probe.CreationTimestamp.Add(offset); due.Before(end); due = due.Add(interval) {
		s := &slot{due: due}
		a.slots = append(a.slots, s)
		a.byRun[run.ID(probe.Name, string(probe.UID), schedule.KeyOfTime(due))] = s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts[probe.Name] = a
}

// close says that no run that is due later need start.
func (l *ledger) close(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

func (l *ledger) notify() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// fault notes what must never be. The caller holds the lock.
func (l *ledger) fault(format string, args ...any) {
	const most = 20
	if text := fmt.Sprintf(format, args...); len(l.faults) < most && !slices.Contains(l.faults, text) {
		l.faults = append(l.faults, text)
	}
}

// seeJob enters a Job as it is now, and begins its play when it is new.
func (l *ledger) seeJob(job *batchv1.Job, begin func(*batchv1.Job, *slot) *play) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.plays[job.UID]; p != nil {
		p.job = job
		return
	}
	a := l.accounts[job.Labels[kubeproberv1.ProbeLabel]]
	if a == nil {
		l.fault("Job %s is of no probe", job.Name)
		return
	}
	meta := run.MetaOf(job)
	s := a.byRun[meta.RunID]
	if s == nil || !s.due.Equal(meta.Due) {
		l.fault("Job %s is for %s, when the probe was not due", job.Name, meta.Due)
		return
	}
	s.jobs = append(s.jobs, job.UID)
	if i := slices.IndexFunc(a.plays, (*play).underWay); i >= 0 {
		l.fault("Job %s was made while Job %s was under way", job.Name, a.plays[i].job.Name)
	}
	p := begin(job, s)
	p.account = a
	a.open++
	a.plays = append(a.plays, p)
	l.plays[job.UID] = p
}

// loseJob notes that a Job is gone.
func (l *ledger) loseJob(job *batchv1.Job) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.plays[job.UID]
	if p == nil {
		return
	}
	p.gone = true
	if !p.finished {
		l.fault("Job %s was removed before it ended", job.Name)
		l.finish(p)
	}
	if p.slot.record == nil {
		l.fault("Job %s was removed before its run was recorded", job.Name)
	}
}

// finish notes that a play is over. The caller holds the lock.
func (l *ledger) finish(p *play) {
	if !p.finished {
		p.finished, p.slot.ended = true, true
		p.account.open--
	}
}

// seeStatus enters the history of a ProbeStatus.
func (l *ledger) seeStatus(status *kubeproberv1.ProbeStatus) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[status.Name]
	if a == nil {
		l.fault("ProbeStatus %s is of no probe", status.Name)
		return
	}
	told := map[string]bool{}
	for i := range status.Status.History {
		record := &status.Status.History[i]
		s := a.byRun[record.RunID]
		switch {
		case s == nil:
			l.fault("the history of %s has run %s, which was not due", a.name, record.RunID)
		case told[record.RunID]:
			l.fault("the history of %s has run %s twice", a.name, record.RunID)
		case s.record == nil:
			s.record = record
		}
		told[record.RunID] = true
	}
}

// latest is the slot that is due at a time; nil before the first.
func (a *account) latest(now time.Time) *slot {
	i := len(a.slots)
	for i > 0 && a.slots[i-1].due.After(now) {
		i--
	}
	if i == 0 {
		return nil
	}
	return a.slots[i-1]
}

// behind tells what an agent that runs has left undone by a time; empty when it is up to date. Then, if it can be said that one
// runs, the slots of this time had their chance.
func (l *ledger) behind(by time.Time, runs bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.until.IsZero() && by.After(l.until) {
		by = l.until
	}
	for _, a := range l.accounts {
		for _, s := range a.slots {
			if s.ended && s.record == nil {
				return fmt.Sprintf("the run of %s that was due at %s has ended and is not recorded", a.name, s.due)
			}
		}
		if s := a.latest(by); s != nil && a.open == 0 && len(s.jobs) == 0 {
			return fmt.Sprintf("the run of %s that was due at %s has not started", a.name, s.due)
		}
	}
	if runs {
		for _, a := range l.accounts {
			if s := a.latest(by); s != nil && a.open == 0 {
				s.chance = true
			}
		}
	}
	return ""
}

// counts is what the soak prints.
type counts struct {
	due, folded, started, recorded, told         int
	doubled, missing, unexplained, lost, unended int
}

// outage is a time without an agent.
type outage struct{ from, to time.Time }

// settle compares all due times up to an end with what was seen.
func (l *ledger) settle(end time.Time, outages []outage) (counts, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var c counts
	for _, a := range l.accounts {
		for _, s := range a.slots {
			if s.due.After(end) && len(s.jobs) == 0 {
				continue
			}
			c.due++
			l.settleSlot(&c, a, s, outages)
		}
		c.unended += a.open
	}
	return c, l.faults
}

// settleSlot enters one due time into the counts. The caller holds the lock.
func (l *ledger) settleSlot(c *counts, a *account, s *slot, outages []outage) {
	if len(s.jobs) > 0 {
		c.started++
	}
	if len(s.jobs) > 1 {
		c.doubled++
		l.fault("the run of %s that was due at %s has run %d times", a.name, s.due, len(s.jobs))
	}
	switch {
	case s.record != nil:
		c.recorded++
	case s.chance || len(s.jobs) > 0:
		c.missing++
		l.fault("the run of %s that was due at %s is missing: %d Jobs", a.name, s.due, len(s.jobs))
	default:
		c.folded++
		// A run that waits for its report through the outage holds up the one after it.
		inside := func(o outage) bool { return o.from.Before(s.due.Add(2*interval)) && o.to.After(s.due.Add(-interval)) }
		if !slices.ContainsFunc(outages, inside) {
			c.unexplained++
			l.fault("the run of %s that was due at %s was left out, and an agent ran", a.name, s.due)
		}
	}
	if s.told == "" {
		return
	}
	c.told++
	if s.record != nil && (s.record.Total != 1 || s.record.Status.Severity() < s.told.Severity()) {
		c.lost++
		l.fault("the run of %s that was due at %s said %s, and is recorded as %s with %d checkers", a.name, s.due,
			s.told, s.record.Status, s.record.Total)
	}
}
