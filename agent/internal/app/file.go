// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
)

// maxFileBytes is more than a ConfigMap can hold.
const maxFileBytes = 2 << 20

// fileConfig is the file probe-conf.yaml of the ConfigMap probeagent.
type fileConfig struct {
	MasterAddr  string
	ClusterName string
	SecretKey   string
	AgentDebug  bool
	DebugLevel  string
	ExtraStatus map[string]string

	path     string
	warnings []string
}

// readFile reads the file. Keys that the agent does not know are no error: probe-tunnel reads the same file.
func readFile(path string) (*fileConfig, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("parsing the configuration %s: %w", path, err)
	}
	c := &fileConfig{path: path}
	for _, name := range sortedKeys(values) {
		if err := c.set(name, values[name]); err != nil {
			return nil, fmt.Errorf("reading key %s of %s: %w", name, path, err)
		}
	}
	return c, nil
}

func sortedKeys(values map[string]any) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *fileConfig) set(name string, value any) (err error) {
	switch name {
	case "probe_master_addr":
		c.MasterAddr, err = quoted(value)
	case "cluster_name":
		c.ClusterName, err = quoted(value)
	case "secret_key":
		c.SecretKey, err = quoted(value)
	case "debug_level":
		c.DebugLevel, err = text(value)
	case "agent_debug":
		c.AgentDebug, err = truth(value)
	case "extra_status":
		c.ExtraStatus, err = texts(value)
	default:
		c.warnings = append(c.warnings, fmt.Sprintf("unknown key %q in %s", name, c.path))
	}
	return err
}

// quoted takes a text only: YAML reads 0123 as another number, and on as true.
func quoted(value any) (string, error) {
	s, ok := value.(string)
	if !ok && value != nil {
		return "", errors.New("must be a text: put the value in quotes")
	}
	return s, nil
}

// text takes any scalar.
func text(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		return "", fmt.Errorf("must be a text, and is a %T", value)
	}
}

func truth(value any) (bool, error) {
	s, err := text(value)
	if err != nil || s == "" {
		return false, err
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("must be true or false, and is %q", s)
	}
	return b, nil
}

func texts(value any) (map[string]string, error) {
	if value == nil {
		return nil, nil
	}
	given, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be a map of texts, and is a %T", value)
	}
	if len(given) > heartbeat.MaxExtraStatus {
		return nil, fmt.Errorf("has %d entries, more than %d", len(given), heartbeat.MaxExtraStatus)
	}
	result := make(map[string]string, len(given))
	for name, v := range given {
		s, err := text(v)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", name, err)
		}
		result[name] = s
	}
	return result, nil
}
