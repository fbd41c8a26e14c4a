// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Command crdtrim takes the field descriptions below every property named "template" out of CRD files, in place.
//
// Such a property is a pod template: Kubernetes documents it, and its descriptions make a CRD too large for the
// annotation in which a plain `kubectl apply` keeps what it applied. All other descriptions stay.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// maxBytes bounds a CRD as JSON. The API server takes annotations of 262,144 bytes in all; the rest is for growth.
const maxBytes = 200_000

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: crdtrim FILE...")
		os.Exit(2)
	}
	for _, path := range os.Args[1:] {
		if err := trimFile(path); err != nil {
			fmt.Fprintf(os.Stderr, "crdtrim: trimming %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

// trimFile replaces the file at path in one step.
func trimFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	trimmed, err := trim(data)
	if err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(temp, trimmed, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// trim returns the CRD without descriptions in its templates, with sorted keys as controller-gen writes them.
// It fails when the CRD is too large even so.
func trim(data []byte) ([]byte, error) {
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return nil, err
	}
	if crd["kind"] != "CustomResourceDefinition" {
		return nil, errors.New("it is no CustomResourceDefinition")
	}
	trimTemplates(crd)
	asJSON, err := json.Marshal(crd)
	if err != nil {
		return nil, err
	}
	if len(asJSON) > maxBytes {
		return nil, fmt.Errorf("it has %d bytes as JSON, more than %d: kubectl apply would not take it much longer", len(asJSON), maxBytes)
	}
	body, err := yaml.Marshal(crd)
	if err != nil {
		return nil, err
	}
	return append([]byte("---\n"), body...), nil
}

// trimTemplates looks for schemas with a property named template and drops the descriptions inside that property; its
// own description stays.
func trimTemplates(node any) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if properties, ok := value.(map[string]any); ok && key == "properties" {
				if template, ok := properties["template"].(map[string]any); ok {
					for _, inner := range template {
						dropDescriptions(inner)
					}
				}
			}
			trimTemplates(value)
		}
	case []any:
		for _, value := range node {
			trimTemplates(value)
		}
	}
}

// dropDescriptions removes the description of every schema in node. A property may itself be named description: then
// the value is a schema and not a string.
func dropDescriptions(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, ok := node["description"].(string); ok {
			delete(node, "description")
		}
		for _, value := range node {
			dropDescriptions(value)
		}
	case []any:
		for _, value := range node {
			dropDescriptions(value)
		}
	}
}
