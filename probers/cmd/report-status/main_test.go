// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubeprober/kubeprober/apis/report"
)

// asCommand makes the test binary behave as report-status.
const asCommand = "TEST_AS_REPORT_STATUS"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// agent takes reports as the agent does.
type agent struct {
	server *httptest.Server
	lock   sync.Mutex
	// got holds "STATUS message" by checker.
	got     map[string]string
	arrived chan string
}

func newAgent(t *testing.T, code int) *agent {
	t.Helper()
	a := &agent{got: map[string]string{}, arrived: make(chan string, 1000)}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code != http.StatusOK {
			http.Error(w, "the agent says no", code)
			return
		}
		got, err := report.Decode(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.lock.Lock()
		defer a.lock.Unlock()
		for _, c := range got.Checkers {
			a.got[c.Name] = strings.TrimSpace(string(c.Status) + " " + c.Message)
			a.arrived <- c.Name
		}
	}))
	t.Cleanup(a.server.Close)
	return a
}

func (a *agent) results() map[string]string {
	a.lock.Lock()
	defer a.lock.Unlock()
	copied := map[string]string{}
	for k, v := range a.got {
		copied[k] = v
	}
	return copied
}

// env is the environment of a checker's container.
func (a *agent) env() []string {
	// The race detector otherwise waits a second when a process ends.
	return append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0", report.EnvReportURL+"="+a.server.URL+"/probe-status?run=secret",
		report.EnvProbeName+"=shell", report.EnvProbeNamespace+"=kubeprober", report.EnvRunDeadline+"=")
}

func command(t *testing.T, env []string, stdin io.Reader, args ...string) (code int, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env, c.Stdin = env, stdin
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), log.String()
}

func TestOneResult(t *testing.T) {
	tests := map[string]struct {
		args   []string
		agent  int
		code   int
		says   string
		result string
	}{
		"is reported in the words of the original": {
			args: []string{"--name=x", "--status=error", "--message=it broke"}, result: "ERROR it broke",
		},
		"takes ok for pass": {args: []string{"--name", "x", "--status", "ok"}, result: "PASS"},
		"needs a name":      {args: []string{"--status", "ok"}, code: 64, says: "--name is missing"},
		"needs a status":    {args: []string{"--name", "x"}, code: 64, says: "--status is missing"},
		"needs a known status": {
			args: []string{"--name", "x", "--status", "fine"}, code: 64, says: `"fine" is no status; it must be pass, info, warn, error or unknown`,
		},
		"needs a message when something is wrong": {args: []string{"--name", "x", "--status", "warn"}, code: 64, says: "WARN needs one"},
		"refuses words that were not quoted": {
			args: []string{"--name", "x", "--status", "warn", "--message", "it", "broke"}, code: 64, says: `unexpected argument "broke"`,
		},
		"does not mix with --stdin":    {args: []string{"--stdin", "--name", "x"}, code: 64, says: "--stdin excludes"},
		"has no other flags":           {args: []string{"--nome", "x"}, code: 64, says: "flag provided but not defined: -nome"},
		"fails when the run is over":   {args: []string{"--name", "x", "--status", "ok"}, agent: 410, code: 2, says: "the run is over"},
		"fails when it may not report": {args: []string{"--name", "x", "--status", "ok"}, agent: 403, code: 2, says: "not valid"},
		"gives up when the agent stays away": {
			args: []string{"--name", "x", "--status", "ok", "--timeout", "1s"}, agent: 503, code: 2, says: "the agent answered 503",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.agent == 0 {
				test.agent = http.StatusOK
			}
			a := newAgent(t, test.agent)
			code, stderr := command(t, a.env(), nil, test.args...)
			if code != test.code || !strings.Contains(stderr, test.says) {
				t.Errorf("exit status %d, want %d; stderr %q, want %q", code, test.code, stderr, test.says)
			}
			if got := a.results()["x"]; got != test.result {
				t.Errorf("reported %q, want %q", got, test.result)
			}
			if strings.Contains(stderr, "secret") {
				t.Errorf("stderr holds the report URL: %s", stderr)
			}
		})
	}
}

func TestOutsideOfARunTheErrorSaysSo(t *testing.T) {
	code, stderr := command(t, append(os.Environ(), asCommand+"=1", report.EnvReportURL+"="), nil, "--name", "x", "--status", "ok")
	if code != exitUsage || !strings.Contains(stderr, report.EnvReportURL+" is not set") {
		t.Errorf("exit status %d, stderr %q", code, stderr)
	}
}

func TestLinesAreReported(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	input := "coredns ok\n\n# a remark\nkube-proxy  WARN\t2 of 3 pods\n  calico error  not there  \netcd unknown no rights\nkubelet info v1\n"
	if code, stderr := command(t, a.env(), strings.NewReader(input), "--stdin"); code != 0 {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
	want := map[string]string{
		"coredns": "PASS", "kube-proxy": "WARN 2 of 3 pods", "calico": "ERROR not there", "etcd": "UNKNOWN no rights", "kubelet": "INFO v1",
	}
	if got := a.results(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestALineThatIsNoResultIsNamedAndTheOthersAreReported(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	code, stderr := command(t, a.env(), strings.NewReader("a ok\nStarting up now\nb\n"+strings.Repeat("n", 300)+" ok\nc error bad\n"), "--stdin")
	if code != exitUsage {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"line 2", `"Starting up now" has no ok`, "line 3", "line 4", "more than 253"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if got := a.results(); got["a"] != "PASS" || got["c"] != "ERROR bad" || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestALineThatIsTooLongEndsTheInput(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	code, stderr := command(t, a.env(), strings.NewReader("a ok\nb ok "+strings.Repeat("x", 2*maxLine)), "--stdin")
	if code != exitUsage || !strings.Contains(stderr, "token too long") || a.results()["a"] != "PASS" {
		t.Errorf("exit status %d, stderr %s, got %v", code, stderr, a.results())
	}
}

func TestALineIsReportedBeforeTheInputEnds(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	input, writer := io.Pipe()
	done := make(chan int, 1)
	go func() {
		code, _ := command(t, a.env(), input, "--stdin")
		done <- code
	}()
	if _, err := io.WriteString(writer, "first ok\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-a.arrived; got != "first" {
		t.Errorf("got %s", got)
	}
	if _, err := io.WriteString(writer, "second ok\n"); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 0 || len(a.results()) != 2 {
		t.Errorf("exit status %d, got %v", code, a.results())
	}
}

// shell prepares run.sh of the base image with the given checkers, and report-status in its PATH.
func shell(t *testing.T, a *agent, checkers map[string]string) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"bash", "timeout"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("run.sh needs %s", tool)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "report-status")); err != nil {
		t.Fatal(err)
	}
	for name, script := range checkers {
		folder := filepath.Join(dir, "checkers", name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "main"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "bash", "../../images/probe-base/run.sh")
	c.Env = append(a.env(), "PATH="+dir+":"+os.Getenv("PATH"), "CHECKERS_DIR="+filepath.Join(dir, "checkers"))
	return c
}

func TestRunScriptReportsWhatCheckersPrintAndWhereTheyFail(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	c := shell(t, a, map[string]string{
		"lines":  "#!/bin/bash\necho one ok fine\necho two error bad\necho 'for the log' >&2\n",
		"direct": "#!/bin/bash\nreport-status --name three --status warn --message 'by itself'\n",
		"fails":  "#!/bin/bash\necho four ok before\nexit 7\n",
		"slow":   "#!/bin/bash\nsleep 60\n",
		"lost":   "#!/no/such/interpreter\n",
	})
	c.Env = append(c.Env, report.EnvRunDeadline+"="+time.Now().Add(10*time.Second).UTC().Format(time.RFC3339))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("run.sh: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "lines: for the log") {
		t.Errorf("the log lacks what a checker wrote to it:\n%s", out)
	}
	got := a.results()
	for name, want := range map[string]string{
		"one": "PASS fine", "two": "ERROR bad", "three": "WARN by itself", "four": "PASS before",
		"fails": "UNKNOWN the checker failed with exit status 7", "slow": "UNKNOWN the checker did not end within",
		"lost": "UNKNOWN ",
	} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 7 {
		t.Errorf("got %v\n%s", got, out)
	}
}

func TestRunScriptReportsWhatIsThereWhenItIsStopped(t *testing.T) {
	a := newAgent(t, http.StatusOK)
	c := shell(t, a, map[string]string{"slow": "#!/bin/bash\necho early ok\nsleep 600 &\nwait\n"})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if got := <-a.arrived; got != "early" {
		t.Errorf("%s came first", got)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("run.sh: %v", err)
	}
	if got := a.results()["slow"]; got != "UNKNOWN the run was stopped before the checker ended" {
		t.Errorf("got %q", got)
	}
}

func TestRunScriptFails(t *testing.T) {
	tests := map[string]struct {
		checkers map[string]string
		env      string
		code     int
		says     string
	}{
		"without checkers":                     {code: 64, says: "there is no checker"},
		"with a deadline that is no time":      {checkers: map[string]string{"a": "#!/bin/sh\n"}, env: report.EnvRunDeadline + "=soon", code: 64, says: "which is no time"},
		"when a checker prints something else": {checkers: map[string]string{"a": "#!/bin/sh\necho hello\n"}, code: 2, says: `"hello" has no ok`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := shell(t, newAgent(t, http.StatusOK), test.checkers)
			c.Env = append(c.Env, test.env)
			out, _ := c.CombinedOutput()
			if c.ProcessState.ExitCode() != test.code || !strings.Contains(string(out), test.says) {
				t.Errorf("exit status %d, want %d; output %q, want %q", c.ProcessState.ExitCode(), test.code, out, test.says)
			}
		})
	}
}
