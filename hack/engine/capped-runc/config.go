// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// capFile rewrites the OCI file at path without the capabilities that are not available. The new file takes the old
// one's place in one step: runc never sees half of it.
func capFile(path string, available map[string]bool) error {
	before, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the OCI configuration: %w", err)
	}
	after, err := capJSON(before, available)
	if err != nil {
		return fmt.Errorf("editing %s: %w", path, err)
	}
	if after == nil {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading the mode of the OCI configuration: %w", err)
	}
	temp := filepath.Join(filepath.Dir(path), ".capped-"+filepath.Base(path))
	if err := os.WriteFile(temp, after, info.Mode().Perm()); err != nil {
		return fmt.Errorf("writing the OCI configuration: %w", err)
	}
	return os.Rename(temp, path)
}

// capJSON returns document, an OCI config.json or a bare process of `runc exec --process`, without the capabilities that
// are not available, and nil when it asks for none of those. Fields that it does not know stay as they are.
func capJSON(document []byte, available map[string]bool) ([]byte, error) {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(document))
	// Numbers such as the memory limit of a container do not fit a float64.
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	process := object
	if inner, ok := object["process"].(map[string]any); ok {
		process = inner
	}
	sets, ok := process["capabilities"].(map[string]any)
	if !ok {
		return nil, nil
	}
	changed := false
	for name, value := range sets {
		wanted, ok := value.([]any)
		if !ok {
			return nil, fmt.Errorf("capabilities.%s is not a list", name)
		}
		kept := make([]any, 0, len(wanted))
		for _, c := range wanted {
			if s, ok := c.(string); ok && available[s] {
				kept = append(kept, c)
			}
		}
		changed = changed || len(kept) != len(wanted)
		sets[name] = kept
	}
	if !changed {
		return nil, nil
	}
	return json.Marshal(object)
}
