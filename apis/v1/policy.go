// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

import "time"

const (
	// DefaultTimeout is how long a run may take when its policy does not say.
	DefaultTimeout = 30 * time.Minute
	// StaleIntervals is after how many run intervals a result stops being trusted.
	StaleIntervals = 2
)

// Interval is the time between two runs; 0 when the policy has none (it has a schedule, or runs once a generation).
func (p *ProbePolicy) Interval() time.Duration {
	if p.RunInterval == nil {
		return 0
	}
	return time.Duration(*p.RunInterval) * time.Minute
}

// Spread is the width of the window over which a fleet's runs are spread; 0 when they are not.
func (p *ProbePolicy) Spread() time.Duration {
	if p.RunIntervalRandom == nil {
		return 0
	}
	return time.Duration(*p.RunIntervalRandom) * time.Minute
}

// Timeout is how long a run may take: timeoutSeconds or its default, and never longer than the interval.
func (p *ProbePolicy) Timeout() time.Duration {
	timeout := DefaultTimeout
	if p.TimeoutSeconds != nil {
		timeout = time.Duration(*p.TimeoutSeconds) * time.Second
	}
	if interval := p.Interval(); interval > 0 && timeout > interval {
		return interval
	}
	return timeout
}

// ErrorsToFail is how many ERROR verdicts in a row turn the published status of a checker to ERROR; at least 1.
func (p *ProbePolicy) ErrorsToFail() int32 {
	if p.FailureThreshold == nil {
		return 1
	}
	return *p.FailureThreshold
}

// Suspended tells whether scheduled runs are held back.
func (p *ProbePolicy) Suspended() bool { return p.State == ProbeSuspended }

// OnEveryNode tells whether a run needs one pod on each node.
func (p *ProbePolicy) OnEveryNode() bool { return p.Placement == PlaceEveryNode }
