// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// perform plays the master for the next run in namespace: it takes the run through the given states and returns it.
func perform(t *testing.T, namespace string, states ...func(*kubeproberv1.ProbeRun)) (wait func() *kubeproberv1.ProbeRun) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	existing := &kubeproberv1.ProbeRunList{}
	if err := suite.client.List(ctx, existing, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	events, err := suite.client.Watch(ctx, &kubeproberv1.ProbeRunList{}, client.InNamespace(namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: existing.ResourceVersion}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *kubeproberv1.ProbeRun, 1)
	go func() {
		defer close(done)
		defer events.Stop()
		for event := range events.ResultChan() {
			run, ok := event.Object.(*kubeproberv1.ProbeRun)
			if !ok || event.Type != watch.Added {
				continue
			}
			for _, change := range states {
				before := run.DeepCopy()
				change(run)
				if err := suite.client.Status().Patch(ctx, run, client.MergeFrom(before)); err != nil {
					t.Errorf("playing the master: %v", err)
					return
				}
			}
			done <- run
			return
		}
	}()
	t.Cleanup(func() {
		cancel()
		for run := range done {
			_ = suite.client.Delete(context.WithoutCancel(t.Context()), run)
		}
	})
	return func() *kubeproberv1.ProbeRun {
		run := <-done
		if run == nil {
			t.Fatal("no run was made")
		}
		t.Cleanup(func() { _ = suite.client.Delete(context.WithoutCancel(t.Context()), run) })
		return run
	}
}

func running(probes ...string) func(*kubeproberv1.ProbeRun) {
	return func(run *kubeproberv1.ProbeRun) {
		run.Status.Phase, run.Status.StartTime = kubeproberv1.RunRunning, longAgo()
		for _, name := range probes {
			run.Status.Probes = append(run.Status.Probes, kubeproberv1.RunProbeStatus{Name: name, Phase: kubeproberv1.RunRunning})
		}
	}
}

func ending(phase kubeproberv1.RunPhase, probe string, checkers ...kubeproberv1.CheckerResult) func(*kubeproberv1.ProbeRun) {
	return func(run *kubeproberv1.ProbeRun) { run.Status = finished(phase, probe, checkers...) }
}

func TestOnceWaitsForTheRunAndShowsItsResults(t *testing.T) {
	cluster(t, "erda-cloud", "k8s", "host")
	wait := perform(t, "default", running("k8s"), ending(kubeproberv1.RunSucceeded, "k8s",
		checker("pod-create", kubeproberv1.CheckerPass, "reached in 2s"), checker("dns", kubeproberv1.CheckerInfo, "no internet")))
	got := viaFront().run(t, "once", "-c", "erda-cloud", "-p", "k8s")
	made := wait()
	got.expect(t, 0, nil, []string{"run " + made.Name + " of cluster erda-cloud: k8s: Succeeded"})
	golden(t, "once", got.stdout)
	if made.Spec.ClusterName != "erda-cloud" || made.Labels[kubeproberv1.ClusterLabel] != "erda-cloud" {
		t.Errorf("the run does not name its cluster: %+v", made)
	}
	if len(made.Spec.Probes) != 1 || made.Spec.Probes[0].Name != "k8s" || made.Spec.Probes[0].Spec != nil {
		t.Errorf("the run names other probes: %+v", made.Spec.Probes)
	}
	if id, err := strconv.ParseInt(made.Name, 10, 64); err != nil || time.Since(time.Unix(id, 0)).Abs() > time.Minute {
		t.Errorf("the ID %s is not the time in seconds", made.Name)
	}
	if strings.Contains(got.stderr, "\x1b") {
		t.Errorf("terminal sequences in a pipe: %q", got.stderr)
	}
}

func TestOnceRunsAProbeThatIsNotAttached(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	probe(t, "default", "host")
	wait := perform(t, "default", ending(kubeproberv1.RunSucceeded, "host", checker("disk", kubeproberv1.CheckerPass, "12% used")))
	got := viaFront().run(t, "once", "-c", "erda-cloud", "-p", "host")
	made := wait()
	got.expect(t, 0, []string{"host", "disk", "PASS"}, nil)
	if len(made.Spec.Probes) != 1 || made.Spec.Probes[0].Name != "host" {
		t.Errorf("the run names other probes: %+v", made.Spec.Probes)
	}
}

func TestOnceEndsWithTheCodeOfTheResults(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	for _, tc := range []struct {
		name   string
		args   []string
		end    func(*kubeproberv1.ProbeRun)
		code   int
		stderr string
	}{
		{"ERROR", nil, ending(kubeproberv1.RunFailed, "k8s", checker("dns", kubeproberv1.CheckerError, "no answer"), checker("x", kubeproberv1.CheckerUnknown, "?")), 3, "1 of 2 checkers reports ERROR"},
		{"ERROR that shall not count", []string{"--fail-on=never"}, ending(kubeproberv1.RunFailed, "k8s", checker("dns", kubeproberv1.CheckerError, "no answer")), 0, ""},
		{"WARN", nil, ending(kubeproberv1.RunSucceeded, "k8s", checker("disk", kubeproberv1.CheckerWarn, "81%")), 0, ""},
		{"WARN that shall count", []string{"--fail-on=warn"}, ending(kubeproberv1.RunSucceeded, "k8s", checker("disk", kubeproberv1.CheckerWarn, "81%")), 4, "WARN"},
		{"UNKNOWN", nil, ending(kubeproberv1.RunIncomplete, "k8s", checker("dns", kubeproberv1.CheckerUnknown, "?")), 5, "could not be judged"},
		{"a run that was refused", nil, func(run *kubeproberv1.ProbeRun) { run.Status.Phase = kubeproberv1.RunIncomplete }, 5, "could not be completed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wait := perform(t, "default", tc.end)
			got := viaFront().run(t, append([]string{"once", "-c", "erda-cloud"}, tc.args...)...)
			wait()
			got.expect(t, tc.code, nil, []string{tc.stderr})
		})
	}
}

func TestOnceRefusesWhatCannotRun(t *testing.T) {
	cluster(t, "bare")
	cluster(t, "erda-cloud", "k8s", "host")
	disconnected := cluster(t, "edge-17", "k8s")
	before := disconnected.DeepCopy()
	disconnected.Status.Conditions[0].Status = "False"
	if err := suite.client.Status().Patch(t.Context(), disconnected, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr []string
	}{
		{"an unknown cluster", []string{"-c", "erda-clod"}, 1, []string{`did you mean "erda-cloud"?`, "kubectl get cluster"}},
		{"an empty name", []string{"-c", ""}, 2, []string{"not the name of a cluster"}},
		{"a disconnected cluster", []string{"-c", "edge-17"}, 5, []string{`cluster "edge-17" is disconnected (last heartbeat 30h ago)`}},
		{"a cluster without probes", []string{"-c", "bare"}, 1, []string{`no probes are attached to cluster "bare"`, "kubectl label cluster bare probe/NAME=true"}},
		{"a probe that does not exist", []string{"-c", "erda-cloud", "-p", "k8s,k9s"}, 1, []string{`probe "k9s" not found in namespace default; attached to cluster "erda-cloud": host, k8s`, "kubectl get probe -n default"}},
		{"an unknown probe for a cluster without probes", []string{"-c", "bare", "-p", "k9s"}, 1, []string{`attached to cluster "bare": none`}},
		{"a name that is none", []string{"-c", "erda-cloud", "-p", "a b"}, 2, []string{`"a b" is not the name of a probe`}},
		{"a negative timeout", []string{"-c", "erda-cloud", "--timeout", "-1s"}, 2, []string{"negative"}},
		{"a cluster of its own without probes", nil, 1, []string{"there are no probes in namespace kubeprober"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			viaFront().run(t, append([]string{"once"}, tc.args...)...).expect(t, tc.code, nil, tc.stderr)
		})
	}
	runs := &kubeproberv1.ProbeRunList{}
	if err := suite.client.List(t.Context(), runs); err != nil || len(runs.Items) > 0 {
		t.Errorf("%d runs were made (%v)", len(runs.Items), err)
	}
}

func TestTwoRunsOfOneSecondGetTwoIDs(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	const many = 4
	var all sync.WaitGroup
	names := make([]string, many)
	for i := range many {
		all.Go(func() {
			got := viaFront().run(t, "once", "-c", "erda-cloud", "--wait=false", "-o", "name")
			got.expect(t, 0, []string{"proberun.kubeprober.erda.cloud/"}, nil)
			names[i] = strings.TrimSpace(strings.TrimPrefix(got.stdout, "proberun.kubeprober.erda.cloud/"))
		})
	}
	all.Wait()
	runs := &kubeproberv1.ProbeRunList{}
	if err := suite.client.List(t.Context(), runs, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = suite.client.DeleteAllOf(context.WithoutCancel(t.Context()), &kubeproberv1.ProbeRun{}, client.InNamespace("default"))
	})
	if len(runs.Items) != many {
		t.Errorf("%d runs exist, expected %d; the commands named %q", len(runs.Items), many, names)
	}
}

func TestOnceInTheCurrentClusterRunsInTheAgentsNamespace(t *testing.T) {
	probe(t, agentNamespace, "k8s")
	wait := perform(t, agentNamespace, ending(kubeproberv1.RunSucceeded, "k8s", checker("dns", kubeproberv1.CheckerPass, "")))
	got := direct().run(t, "once", "-n", agentNamespace, "-o", "json")
	made := wait()
	var printed kubeproberv1.ProbeRun
	if err := json.Unmarshal([]byte(got.stdout), &printed); err != nil {
		t.Fatalf("%v in %s", err, got.stdout)
	}
	if got.code != 0 || printed.Name != made.Name || printed.Kind != "ProbeRun" || printed.Status.Phase != kubeproberv1.RunSucceeded || printed.Spec.ClusterName != "" {
		t.Errorf("unexpected result (code %d): %s%s", got.code, got.stdout, got.stderr)
	}
}

// started starts the plugin and waits until its standard error has a line that matches.
func started(t *testing.T, cmd *exec.Cmd, pattern string) (stdout, stderr *bytes.Buffer, match []string, finish func() int) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout = stdout
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	wanted := regexp.MustCompile(pattern)
	for match == nil && lines.Scan() {
		fmt.Fprintln(stderr, lines.Text())
		match = wanted.FindStringSubmatch(lines.Text())
	}
	if match == nil {
		t.Fatalf("no line like %q in:\n%s", pattern, stderr)
	}
	return stdout, stderr, match, func() int {
		for lines.Scan() {
			fmt.Fprintln(stderr, lines.Text())
		}
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}

func TestAnInterruptStopsWatchingAndTellsHowToGoOn(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	wait := perform(t, "default", running("k8s"))
	cmd := viaFront().command(t, "once", "-c", "erda-cloud")
	stdout, stderr, match, finish := started(t, cmd, `^run (\d+) of cluster erda-cloud: k8s: Running`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := finish()
	made := wait()
	outcome{stdout: stdout.String(), stderr: stderr.String(), code: code}.expect(t, 130, nil, []string{
		"error: stopped watching run " + match[1], "kubectl probe oncestatus -c erda-cloud -i " + made.Name,
	})
	if stdout.Len() > 0 {
		t.Errorf("unexpected output: %s", stdout)
	}
	if err := suite.client.Get(t.Context(), client.ObjectKeyFromObject(made), &kubeproberv1.ProbeRun{}); err != nil {
		t.Errorf("the run is gone: %v", err)
	}
	t.Run("and the printed command goes on", func(t *testing.T) {
		_, more, _, finish := started(t, viaFront().command(t, "oncestatus", "-c", "erda-cloud", "-i", made.Name, "-w"), `k8s: Running`)
		before := made.DeepCopy()
		ending(kubeproberv1.RunSucceeded, "k8s", checker("dns", kubeproberv1.CheckerPass, ""))(made)
		if err := suite.client.Status().Patch(t.Context(), made, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		if code := finish(); code != 0 {
			t.Errorf("exit code %d: %s", code, more)
		}
	})
}

func TestATimeoutIsIncompleteAndShowsWhatIsKnown(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	wait := perform(t, "default", running("k8s"))
	got := viaFront().run(t, "once", "-c", "erda-cloud", "--timeout", "2s")
	made := wait()
	got.expect(t, 5, []string{"k8s", "Running"}, []string{"did not finish within 2s", "kubectl probe oncestatus -c erda-cloud -i " + made.Name})
}

func TestARunThatIsDeletedEndsTheWait(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	made := run(t, "default", "1630566675", "erda-cloud", kubeproberv1.ProbeRunStatus{Phase: kubeproberv1.RunRunning})
	stdout, stderr, _, finish := started(t, viaFront().command(t, "oncestatus", "-c", "erda-cloud", "-i", made.Name, "-w"), `waiting`)
	if err := suite.client.Delete(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	code := finish()
	outcome{stdout: stdout.String(), stderr: stderr.String(), code: code}.expect(t, 5, nil, []string{"was deleted before it finished"})
}

func TestTheWatchSurvivesExpiryAndLostConnections(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	var watches atomic.Int32
	broken := make(chan struct{})
	suite.front.set(func() {
		suite.front.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("watch") == "" || !strings.Contains(r.URL.Path, "/proberuns") {
				return false
			}
			switch watches.Add(1) {
			case 1:
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}}`)
				return true
			case 2:
				hijacked, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_ = hijacked.Close()
				}
				close(broken)
				return true
			default:
				return false
			}
		}
	})
	t.Cleanup(func() { suite.front.set(func() { suite.front.intercept = nil }) })
	wait := perform(t, "default", running("k8s"), func(run *kubeproberv1.ProbeRun) {
		<-broken
		ending(kubeproberv1.RunSucceeded, "k8s", checker("dns", kubeproberv1.CheckerPass, ""))(run)
	})
	got := viaFront().run(t, "once", "-c", "erda-cloud", "--timeout", "30s")
	wait()
	got.expect(t, 0, []string{"dns", "PASS"}, nil)
	if n := watches.Load(); n < 3 {
		t.Errorf("%d watches, expected at least 3", n)
	}
}

func TestOnceStatusListsTheRunsOfACluster(t *testing.T) {
	cluster(t, "erda-cloud", "k8s")
	cluster(t, "quiet")
	run(t, "default", "1630566675", "erda-cloud", finished(kubeproberv1.RunFailed, "k8s",
		checker("dns", kubeproberv1.CheckerError, "no answer"), checker("pod", kubeproberv1.CheckerPass, "")), "k8s")
	run(t, "default", "1630566676", "erda-cloud", kubeproberv1.ProbeRunStatus{}, "k8s", "host")
	run(t, "default", "1630566677", "quiet-too", kubeproberv1.ProbeRunStatus{})

	t.Run("in a table", func(t *testing.T) {
		got := viaFront().run(t, "oncestatus", "-c", "erda-cloud", "-l")
		got.expect(t, 0, nil, nil)
		golden(t, "oncestatus-list", regexp.MustCompile(`\b\d+s\b`).ReplaceAllString(got.stdout, "Ns"))
	})
	t.Run("by name", func(t *testing.T) {
		golden(t, "oncestatus-list-name", viaFront().run(t, "oncestatus", "-c", "erda-cloud", "--list", "-o", "name").stdout)
	})
	t.Run("as YAML", func(t *testing.T) {
		viaFront().run(t, "oncestatus", "-c", "erda-cloud", "-l", "-o", "yaml").expect(t, 0, []string{"kind: ProbeRunList", "kind: ProbeRun\n", "name: \"1630566676\""}, nil)
	})
	t.Run("when there are none", func(t *testing.T) {
		viaFront().run(t, "oncestatus", "-c", "quiet", "-l").expect(t, 0, nil, []string{"No runs found.", "kubectl probe once -c quiet"})
	})
	t.Run("of a cluster that does not exist", func(t *testing.T) {
		viaFront().run(t, "oncestatus", "-c", "erda-clod", "-l").expect(t, 1, nil, []string{`did you mean "erda-cloud"?`})
	})
	t.Run("or the results of one", func(t *testing.T) {
		got := viaFront().run(t, "oncestatus", "-c", "erda-cloud", "-i", "1630566675")
		got.expect(t, 3, nil, []string{"1 of 2 checkers reports ERROR"})
		golden(t, "oncestatus-id", got.stdout)
	})
	t.Run("or of one that is not finished", func(t *testing.T) {
		viaFront().run(t, "oncestatus", "-c", "erda-cloud", "-i", "1630566676").expect(t, 5, []string{"k8s", "Pending"},
			[]string{"run 1630566676 is Pending", "kubectl probe oncestatus -c erda-cloud -i 1630566676 -w"})
	})
	t.Run("but not of another cluster", func(t *testing.T) {
		viaFront().run(t, "oncestatus", "-c", "erda-cloud", "-i", "1630566677").expect(t, 1, nil,
			[]string{`run "1630566677" of cluster "erda-cloud" not found`, "kubectl probe oncestatus -c erda-cloud -l"})
	})
	t.Run("and wants to know what to show", func(t *testing.T) {
		for _, args := range [][]string{{}, {"-l", "-i", "1"}, {"-l", "-w"}, {"-i", "a/b"}, {"-i", "1", "--timeout", "1s"}} {
			viaFront().run(t, append([]string{"oncestatus", "-c", "erda-cloud"}, args...)...).expect(t, 2, nil, []string{"error: "})
		}
	})
}

func TestCompletionOffersWhatExists(t *testing.T) {
	cluster(t, "erda-cloud", "k8s", "host")
	cluster(t, "edge-2")
	run(t, "default", "1630566675", "erda-cloud", kubeproberv1.ProbeRunStatus{}, "k8s")
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"clusters", []string{"status", "-c", "e"}, []string{"edge-2\n", "erda-cloud\n"}},
		{"further clusters", []string{"status", "-c", "edge-2,"}, []string{"edge-2,erda-cloud\n"}},
		{"probes", []string{"once", "-c", "erda-cloud", "-p", ""}, []string{"host\n", "k8s\n"}},
		{"runs", []string{"oncestatus", "-c", "erda-cloud", "-i", "16"}, []string{"1630566675\tPending k8s\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			viaFront().run(t, append([]string{"__complete"}, tc.args...)...).expect(t, 0, tc.want, nil)
		})
	}
}
