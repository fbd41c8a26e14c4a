// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Edit is what a user changes in a manifest before deploying it.
type Edit struct {
	// Old must stand in the manifest.
	Old string
	// New takes its place everywhere.
	New string
}

// Manifest leaves an edited copy of deployment/<app>.yaml for the cluster, and returns its path.
func (c *Cluster) Manifest(app string, edits ...Edit) (string, error) {
	source := filepath.Join(c.workspace.Root, "deployment", app+".yaml")
	content, err := os.ReadFile(source)
	if err != nil {
		return "", fmt.Errorf("reading the manifest of %s: %w", app, err)
	}
	text := string(content)
	for _, edit := range edits {
		if !strings.Contains(text, edit.Old) {
			return "", fmt.Errorf("editing %s: it does not have %q", source, edit.Old)
		}
		text = strings.ReplaceAll(text, edit.Old, edit.New)
	}
	path := c.workspace.Bin("e2e", c.Name, app+".yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("keeping the manifest of %s: %w", app, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("keeping the manifest of %s: %w", app, err)
	}
	return path, nil
}

// Deploy deploys the edited manifest with make, as the walkthrough does, and returns when all of it is up.
func (c *Cluster) Deploy(ctx context.Context, app string, edits ...Edit) error {
	manifest, err := c.Manifest(app, edits...)
	if err != nil {
		return err
	}
	return c.workspace.Make(ctx, c, "deploy", "APP="+app, "MANIFEST="+manifest)
}

// Undeploy removes what the manifest names.
func (c *Cluster) Undeploy(ctx context.Context, app string) error {
	return c.workspace.Make(ctx, c, "undeploy", "APP="+app)
}
