// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package framework gives the suites real clusters with Kubeprober in them: it makes kind clusters, deploys the manifests
// as a user does, runs kubectl, waits by watching, and keeps logs of what failed. It knows nothing of what a spec expects.
package framework

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/onsi/ginkgo/v2"
)

// Workspace is the checked-out repository that is tested.
type Workspace struct {
	// Root is the folder of the repository.
	Root string
	// Kubectl is the path of the kubectl that the scripts of the repository use.
	Kubectl string
	// Keep tells to leave the clusters running, and to use those that an earlier run left.
	Keep bool
	// AsIs tells to use also what the earlier run deployed in them, for work on single specs.
	AsIs bool
}

// OpenWorkspace finds the repository that holds the working directory.
func OpenWorkspace(ctx context.Context) (*Workspace, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory: %w", err)
	}
	for ; !exists(filepath.Join(dir, "go.work")); dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("finding the repository: no folder above has a go.work")
		}
	}
	keep := os.Getenv("E2E_KEEP")
	w := &Workspace{Root: dir, Keep: keep != "", AsIs: keep == "as-is"}
	path, err := w.output(ctx, "hack/kube/kubectl.sh")
	if err != nil {
		return nil, err
	}
	w.Kubectl = path
	return w, nil
}

// Bin is the folder of what is built and kept, which git ignores.
func (w *Workspace) Bin(elements ...string) string {
	return filepath.Join(append([]string{w.Root, "bin"}, elements...)...)
}

// Images lists the images that a module builds.
func (w *Workspace) Images(ctx context.Context, modules ...string) ([]string, error) {
	var images []string
	for _, module := range modules {
		names, err := w.output(ctx, "make", "--silent", "--no-print-directory", "-C", module, "image-names")
		if err != nil {
			return nil, err
		}
		images = append(images, strings.Fields(names)...)
	}
	return images, nil
}

// Make runs targets of the Makefile at the root against a cluster.
func (w *Workspace) Make(ctx context.Context, c *Cluster, args ...string) error {
	return w.run(ctx, []string{"KUBECONFIG=" + c.Kubeconfig}, "make", args...)
}

// run runs a program in the root of the repository; its output goes to the log of the spec, and into the error.
func (w *Workspace) run(ctx context.Context, env []string, name string, args ...string) error {
	fmt.Fprintf(ginkgo.GinkgoWriter, "$ %s\n", strings.Join(append([]string{name}, args...), " "))
	out, err := w.command(ctx, env, name, args...).CombinedOutput()
	_, _ = ginkgo.GinkgoWriter.Write(out)
	if err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(string(out), 30))
	}
	return nil
}

func (w *Workspace) output(ctx context.Context, name string, args ...string) (string, error) {
	command := w.command(ctx, nil, name, args...)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(stderr.String(), 30))
	}
	return strings.TrimSpace(string(out)), nil
}

func (w *Workspace) command(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	if strings.HasPrefix(name, "hack/") {
		name = filepath.Join(w.Root, name)
	}
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = w.Root
	// The flags and the level of a make that runs the suite are none of a make that the suite runs.
	command.Env = append(without(os.Environ(), "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "KUBECONFIG"), env...)
	return command
}

// Secret is what the master and the agents of this run share; with AsIs the one of the run before.
func (w *Workspace) Secret() (string, error) {
	file := w.Bin("e2e", "secret")
	if w.AsIs {
		kept, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the secret of the run before: %w", err)
		}
		return string(kept), nil
	}
	secret := rand.Text()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", fmt.Errorf("keeping the secret of this run: %w", err)
	}
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		return "", fmt.Errorf("keeping the secret of this run: %w", err)
	}
	return secret, nil
}

var unsafeInFileName = regexp.MustCompile("[^a-zA-Z0-9]+")

// fileName makes text usable as the name of a file.
func fileName(text string) string {
	name := strings.Trim(unsafeInFileName.ReplaceAllString(text, "-"), "-")
	return name[max(0, len(name)-120):]
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func without(env []string, names ...string) []string {
	kept := make([]string, 0, len(env))
next:
	for _, entry := range env {
		for _, name := range names {
			if strings.HasPrefix(entry, name+"=") {
				continue next
			}
		}
		kept = append(kept, entry)
	}
	return kept
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
