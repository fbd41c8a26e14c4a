// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// Kubectl is one call of kubectl, with the plugin of this repository on its PATH.
type Kubectl struct {
	cluster *Cluster
	args    []string
	stdin   string
	env     []string
	quiet   bool
}

// Result is what a call of kubectl printed and how it ended.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Kubectl prepares a call with the credentials of the cluster's administrator.
func (c *Cluster) Kubectl(args ...string) *Kubectl { return &Kubectl{cluster: c, args: args} }

// Stdin gives the call text to read.
func (k *Kubectl) Stdin(text string) *Kubectl {
	k.stdin = text
	return k
}

// Env adds NAME=value to the environment; the last one of a name holds.
func (k *Kubectl) Env(entries ...string) *Kubectl {
	k.env = append(k.env, entries...)
	return k
}

// Quiet keeps what the call prints out of the log of the spec.
func (k *Kubectl) Quiet() *Kubectl {
	k.quiet = true
	return k
}

// Run runs the call to its end. It fails the spec only when kubectl cannot be started at all.
func (k *Kubectl) Run(ctx context.Context) Result {
	ginkgo.GinkgoHelper()
	result, err := k.run(ctx)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return result
}

// Succeed runs the call to its end, fails the spec unless it exits with 0, and returns what it printed to stdout.
func (k *Kubectl) Succeed(ctx context.Context) string {
	ginkgo.GinkgoHelper()
	result := k.Run(ctx)
	gomega.Expect(result.ExitCode).To(gomega.BeZero(), "%s\n%s\n%s", k, result.Stdout, result.Stderr)
	return result.Stdout
}

// Fail runs the call to its end, fails the spec if it exits with 0, and returns what it printed to stderr.
func (k *Kubectl) Fail(ctx context.Context) string {
	ginkgo.GinkgoHelper()
	result := k.Run(ctx)
	gomega.Expect(result.ExitCode).NotTo(gomega.BeZero(), "%s\n%s\n%s", k, result.Stdout, result.Stderr)
	return result.Stderr
}

// Output is for callers outside a spec: it returns stdout, or an error with what kubectl said.
func (k *Kubectl) Output(ctx context.Context) (string, error) {
	result, err := k.run(ctx)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("running %s: exit code %d: %s", k, result.ExitCode, lastLines(result.Stderr, 5))
	}
	return result.Stdout, err
}

// Start starts a call that runs beside the spec; it is killed, at the latest, when the spec ends.
func (k *Kubectl) Start(ctx context.Context) *gexec.Session {
	ginkgo.GinkgoHelper()
	fmt.Fprintf(ginkgo.GinkgoWriter, "$ %s &\n", k)
	session, err := gexec.Start(k.command(ctx), ginkgo.GinkgoWriter, ginkgo.GinkgoWriter)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(func() { session.Kill().Wait(10 * time.Second) })
	return session
}

// String is the call as a user would type it.
func (k *Kubectl) String() string {
	return fmt.Sprintf("[%s] kubectl %s", k.cluster.Name, strings.Join(k.args, " "))
}

func (k *Kubectl) run(ctx context.Context) (Result, error) {
	started := time.Now()
	command := k.command(ctx)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: command.ProcessState.ExitCode()}
	fmt.Fprintf(ginkgo.GinkgoWriter, "$ %s   # exit %d after %s\n", k, result.ExitCode, time.Since(started).Round(time.Millisecond))
	if !k.quiet {
		fmt.Fprint(ginkgo.GinkgoWriter, excerpt(result.Stdout), excerpt(result.Stderr))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return result, nil
	}
	if err != nil {
		return result, fmt.Errorf("running %s: %w", k, err)
	}
	return result, nil
}

func (k *Kubectl) command(ctx context.Context) *exec.Cmd {
	w := k.cluster.workspace
	command := exec.CommandContext(ctx, w.Kubectl, k.args...)
	command.Env = append(without(os.Environ(), "PATH", "KUBECONFIG"),
		"PATH="+strings.Join([]string{w.Bin(), filepath.Dir(w.Kubectl), os.Getenv("PATH")}, string(os.PathListSeparator)),
		"KUBECONFIG="+k.cluster.Kubeconfig,
		// No file of the person who runs the suite, such as ~/.kubeprober/config, may change what it tests.
		"HOME="+w.Bin("e2e", "home"),
	)
	command.Env = append(command.Env, k.env...)
	if k.stdin != "" {
		command.Stdin = io.Reader(strings.NewReader(k.stdin))
	}
	return command
}

// excerpt bounds what goes into the log of a spec.
func excerpt(text string) string {
	const limit = 4000
	if len(text) > limit {
		return text[:limit] + "\n... (cut)\n"
	}
	return text
}
