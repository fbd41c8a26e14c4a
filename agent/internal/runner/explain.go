// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	"github.com/kubeprober/kubeprober/apis/report"
)

const (
	// readers is how many Jobs of a run are listened to at once; each may hold report.MaxOutputBytes.
	readers = 8
	// logTimeout bounds reading one log, logsTimeout reading all logs of a run.
	logTimeout  = 5 * time.Second
	logsTimeout = time.Minute
	// logLines and logLength bound the log lines that explain a gap.
	logLines  = 5
	logLength = 512
)

// jobEnding is how one Job of a run ended.
type jobEnding struct {
	job     *batchv1.Job
	meta    run.Meta
	pod     *corev1.Pod
	verdict run.Verdict
	// heard tells that reports are known to have been taken.
	heard bool

	// statement and fault are what explainJob finds; unread tells that a log was needed and could not be read.
	statement record.Statement
	fault     record.Gap
	unread    bool
}

// explain says how a run ended whose Jobs have all ended. It waits for a log that cannot be read, as long as a pod may be stuck.
func (r *Runner) explain(ctx context.Context, g Group, endings []jobEnding, now time.Time) (Inspection, error) {
	logs, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	group, logs := errgroup.WithContext(logs)
	group.SetLimit(readers)
	for i := range endings {
		group.Go(func() error { return r.explainJob(logs, &endings[i]) })
	}
	if err := group.Wait(); err != nil {
		return Inspection{}, err
	}
	ending := &record.Ending{
		Start: g.Start(), End: now, LeftOut: g.Jobs[0].Annotations[leftOutAnnotation], Gaps: missing(g), Statements: map[string]record.Statement{},
	}
	for i := range endings {
		e := &endings[i]
		if e.unread && now.Sub(lastExit(e.pod)) < r.Grace {
			return Inspection{Recheck: r.Grace / 4}, nil
		}
		ending.Nodes = append(ending.Nodes, e.meta.Node)
		if e.fault.Reason != "" {
			ending.Gaps = append(ending.Gaps, e.fault)
		}
		ending.Statements[e.meta.Node] = e.statement
	}
	return Inspection{Ending: ending}, nil
}

// explainJob finds out what the containers of one Job said, and why they did not say more.
func (r *Runner) explainJob(ctx context.Context, e *jobEnding) error {
	e.statement = record.Statement{
		// What is left when the reports that were taken are gone.
		Gap: record.Gap{Node: e.meta.Node, Reason: run.ReasonNoReport, Message: "no result of this run is known any more"},
	}
	if e.verdict.Reason != "" {
		gap := record.Gap{Node: e.meta.Node, Reason: e.verdict.Reason, Message: e.verdict.Message}
		if e.verdict.Reason == run.ReasonExitCode && e.verdict.Exited {
			e.statement.Failure = gap
		} else {
			e.fault = gap
		}
	}
	if e.heard {
		r.addLog(ctx, e, nil)
		return nil
	}
	refused, err := r.Attempts.of(ctx, r.Live, e.job, e.meta)
	if err != nil {
		return err
	}
	speakers := r.speakers(ctx, e)
	if refused != "" {
		e.statement.Gap.Message = "no report was taken, and one was refused: " + refused
	} else {
		words := run.Listen(speakers, e.verdict.Exited)
		e.unread = words.Unread
		e.statement.Results = words.Results
		switch {
		case words.Reason != "":
			e.statement.Gap = record.Gap{Node: e.meta.Node, Reason: words.Reason, Message: words.Message, Log: tailOf(speakers, words.Container)}
		case len(words.Results) > 0 || e.fault.Reason != "":
			// They, or the fault, are the result.
			e.statement.Gap = record.Gap{}
		case e.statement.Failure.Reason != "":
			e.statement.Gap = e.statement.Failure
		default:
			// No run is without a result: the API server would refuse it, again and again.
			e.statement.Gap.Message = "no end of its containers is known"
		}
	}
	r.addLog(ctx, e, speakers)
	return nil
}

// speakers are the containers of a Job with what they wrote. Of a lost node no log can be had, and asking takes long.
func (r *Runner) speakers(ctx context.Context, e *jobEnding) []run.Speaker {
	speakers := run.Speakers(e.pod)
	for i := range speakers {
		s := &speakers[i]
		if e.verdict.Reason == run.ReasonNodeLost {
			s.LogError = "its node is lost"
			continue
		}
		text, cut, err := r.readLog(ctx, e.pod, s.Container)
		if err != nil {
			s.LogError = err.Error()
		}
		s.Log, s.LogCut = text, cut
	}
	return speakers
}

// addLog adds the last log lines of the container that a gap is about.
func (r *Runner) addLog(ctx context.Context, e *jobEnding, speakers []run.Speaker) {
	container := e.verdict.Container
	if e.verdict.Reason == "" || container == "" || e.pod == nil {
		return
	}
	tail := tailOf(speakers, container)
	if tail == "" {
		// An init container, or one whose reports were taken. A log that cannot be had must not keep a result back.
		if text, _, err := r.readLog(ctx, e.pod, container); err == nil {
			tail = tailLines(text)
		}
	}
	if e.fault.Reason != "" {
		e.fault.Log = tail
	} else {
		e.statement.Failure.Log = tail
	}
}

func (r *Runner) readLog(ctx context.Context, pod *corev1.Pod, container string) (text string, cut bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	return r.Logs(ctx, pod, container)
}

func tailOf(speakers []run.Speaker, container string) string {
	for i := range speakers {
		if speakers[i].Container == container {
			return tailLines(speakers[i].Log)
		}
	}
	return ""
}

// tailLines puts the last lines of a log on one line. The end of it says more than its beginning.
func tailLines(text string) string {
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' || c == '\r' })
	tail := []rune(strings.Join(lines[max(0, len(lines)-logLines):], " | "))
	return report.CleanText(string(tail[max(0, len(tail)-logLength):]), logLength)
}

// lastExit is when the last container of a pod ended; zero when that is not known.
func lastExit(pod *corev1.Pod) time.Time {
	var last time.Time
	for _, s := range run.Speakers(pod) {
		if s.End != nil && s.End.FinishedAt.After(last) {
			last = s.End.FinishedAt.Time
		}
	}
	return last
}
