// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Exit codes that are verdicts, of a container that writes why.
const (
	exitPass    = 0
	exitError   = 1
	exitUnknown = 2
)

// howToReport is for the author of a checker that nobody has heard of.
const howToReport = "a checker posts to " + report.EnvReportURL + ", or writes why and exits with 0 for PASS, 1 for ERROR or 2 for UNKNOWN"

// Speaker is a container that may have said something by its output and its exit code.
type Speaker struct {
	// Container is its name, and the name of the checker that its exit code is.
	Container string
	// End is how it ended; nil while it runs.
	End *corev1.ContainerStateTerminated
	// Log is what it wrote, as the API server gives it, the last report.MaxOutputBytes at most.
	Log string
	// LogCut tells that there is more before that.
	LogCut bool
	// LogError says why the log cannot be read; empty when it has been.
	LogError string
}

// Speakers are the containers of a pod that have run. Init containers prepare the checkers, and sidecars serve them: neither is
// one.
func Speakers(pod *corev1.Pod) []Speaker {
	if pod == nil {
		return nil
	}
	var speakers []Speaker
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Running != nil || lastEnd(s) != nil {
			speakers = append(speakers, Speaker{Container: s.Name, End: lastEnd(s)})
		}
	}
	return speakers
}

// Words is what the containers of one pod said without a report.
type Words struct {
	// Results have distinct names.
	Results []report.Checker
	// Reason and Message say what is missing; the reason is empty when nothing is.
	Reason, Message string
	// Container is the one that they are about first; empty when they are about the whole pod.
	Container string
	// Unread tells that a log was needed and could not be read: another attempt may say more.
	Unread bool
}

// Listen understands what containers said by their output and exit codes. exited tells that they came to their own end, so that
// their exit codes mean something; results in lines count in any case.
func Listen(speakers []Speaker, exited bool) Words {
	var words Words
	for i := range speakers {
		words.hear(&speakers[i], exited)
	}
	if len(speakers) == 0 && exited {
		words.miss(ReasonNoReport, "all containers ended well, none has reported, and their pod is gone with what they wrote", "")
	}
	return words
}

// hear adds what one container said. Lines go before the exit code, the termination message before the log.
func (w *Words) hear(s *Speaker, exited bool) {
	var told report.Output
	if s.End != nil {
		told = report.ParseOutput(s.End.Message)
	}
	inMessage := len(told.Checkers) > 0
	if !inMessage {
		written := report.ParseOutput(s.Log)
		if told.Last != "" {
			written.Last = told.Last
		}
		told = written
	}
	if len(told.Checkers) > 0 {
		w.hearLines(s, &told, s.LogCut && !inMessage, exited)
		return
	}
	if exited && s.End != nil && s.End.Reason != reasonOOM {
		w.hearExit(s, told.Last)
	}
}

// hearLines takes the results of a container that speaks in lines. What they leave open is missing: lines that were meant as
// results, lines before those that are read, and what a container that failed has not come to.
func (w *Words) hearLines(s *Speaker, told *report.Output, cut, exited bool) {
	unexplained := true
	for _, result := range told.Checkers {
		if s.End != nil {
			result.LastRun = timeOf(s.End)
		}
		unexplained = unexplained && result.Status != kubeproberv1.CheckerError
		w.add(result)
	}
	if cut {
		w.miss(ReasonInvalidOutput, fmt.Sprintf("container %s wrote more than the %d bytes that are read, and results may stand before them",
			s.Container, report.MaxOutputBytes), s.Container)
	}
	if len(told.Faults) > 0 {
		w.miss(ReasonInvalidOutput, fmt.Sprintf("container %s: %s", s.Container, strings.Join(told.Faults, "; ")), s.Container)
	}
	if !exited || s.End == nil || s.End.Reason == reasonOOM || s.End.ExitCode == exitPass {
		return
	}
	if s.End.ExitCode != exitError {
		w.miss(ReasonExitCode, describeCode(s.Container, s.End), s.Container)
	} else if unexplained {
		// Whatever failed, it is in none of the lines.
		w.miss(ReasonExitCode, describeCode(s.Container, s.End)+", and none of its lines says error", s.Container)
	}
}

// hearExit takes the exit code of a container that wrote why as its verdict.
func (w *Words) hearExit(s *Speaker, last string) {
	verdict, isVerdict := map[int32]kubeproberv1.CheckerStatus{
		exitPass: kubeproberv1.CheckerPass, exitError: kubeproberv1.CheckerError, exitUnknown: kubeproberv1.CheckerUnknown,
	}[s.End.ExitCode]
	reason := ReasonExitCode
	if s.End.ExitCode == exitPass {
		reason = ReasonNoReport
	}
	switch {
	case !isVerdict:
		w.miss(reason, describeExit(s.Container, s.End), s.Container)
	case last != "":
		w.add(report.Checker{Name: s.Container, Status: verdict, Message: last, LastRun: timeOf(s.End)})
	case s.LogError != "":
		w.Unread = true
		w.miss(reason, describeCode(s.Container, s.End)+", none has reported, and its log cannot be read: "+s.LogError, s.Container)
	default:
		w.miss(reason, describeCode(s.Container, s.End)+", reported nothing and wrote nothing: "+howToReport, s.Container)
	}
}

// add takes one result. Of two containers that name one checker the more severe result counts.
func (w *Words) add(result report.Checker) {
	at := slices.IndexFunc(w.Results, func(c report.Checker) bool { return c.Name == result.Name })
	if at < 0 {
		w.Results = append(w.Results, result)
		return
	}
	if result.Status.Severity() > w.Results[at].Status.Severity() {
		w.Results[at] = result
	}
}

func (w *Words) miss(reason, message, container string) {
	if w.Reason == "" {
		w.Reason, w.Message, w.Container = reason, message, container
		return
	}
	w.Message += "; " + message
}

func timeOf(end *corev1.ContainerStateTerminated) *metav1.Time {
	if end.FinishedAt.IsZero() {
		return nil
	}
	return end.FinishedAt.DeepCopy()
}
