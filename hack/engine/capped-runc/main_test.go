// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestConfigOf(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
		ok   bool
	}{
		"create as containerd calls it": {
			args: []string{"--root", "/run/runc", "--log", "/x/log.json", "create", "--bundle", "/run/b", "--pid-file", "/run/b/pid", "id"},
			want: "/run/b/config.json", ok: true,
		},
		"run with a joined flag":         {args: []string{"run", "--bundle=/run/b", "id"}, want: "/run/b/config.json", ok: true},
		"run with the short flag":        {args: []string{"run", "-b", "/run/b", "id"}, want: "/run/b/config.json", ok: true},
		"create without a bundle":        {args: []string{"create", "id"}, want: "config.json", ok: true},
		"exec with a process file":       {args: []string{"--root", "/r", "exec", "--process", "/tmp/p.json", "--detach", "id"}, want: "/tmp/p.json", ok: true},
		"exec with its command in args":  {args: []string{"exec", "id", "sh"}},
		"a flag after -- is a command's": {args: []string{"exec", "id", "--", "-p", "/etc/passwd"}},
		"state changes nothing":          {args: []string{"--root", "/r", "state", "id"}},
		"no command":                     {args: []string{"--version"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := configOf(test.args)
			if got != test.want || ok != test.ok {
				t.Errorf("configOf(%q) = %q, %v; want %q, %v", test.args, got, ok, test.want, test.ok)
			}
		})
	}
}

func TestCapJSON(t *testing.T) {
	available := map[string]bool{"CAP_CHOWN": true, "CAP_SYS_ADMIN": true}
	tests := map[string]struct{ in, want string }{
		"drops what the machine lacks from every set of a bundle": {
			in:   `{"ociVersion":"1.0","process":{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]}}}`,
			want: `{"ociVersion":"1.0","process":{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]}}}`,
		},
		"drops it from the bare process of exec": {
			in:   `{"args":["sh"],"capabilities":{"permitted":["CAP_SYS_RESOURCE","CAP_SYS_ADMIN"]}}`,
			want: `{"args":["sh"],"capabilities":{"permitted":["CAP_SYS_ADMIN"]}}`,
		},
		"keeps numbers that no float holds": {
			in:   `{"linux":{"limit":9223372036854775807},"process":{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}}`,
			want: `{"linux":{"limit":9223372036854775807},"process":{"capabilities":{"bounding":[]}}}`,
		},
		"leaves a container alone that asks for nothing missing": {in: `{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}}}`},
		"leaves a process without capabilities alone":            {in: `{"process":{"args":["sh"]}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := capJSON([]byte(test.in), available)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestCapJSONRefusesWhatItCannotRead(t *testing.T) {
	for name, in := range map[string]string{
		"not JSON":               `{`,
		"capabilities of no set": `{"process":{"capabilities":{"bounding":"CAP_CHOWN"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := capJSON([]byte(in), nil); err == nil {
				t.Errorf("got %s, want an error", got)
			}
		})
	}
}

func TestCapFileKeepsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}}}`), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := capFile(path, map[string]bool{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, want 0640", info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want = map[string]any{"process": map[string]any{"capabilities": map[string]any{"bounding": []any{}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBoundingSetNamesCapabilitiesAsOCIDoes(t *testing.T) {
	got, err := boundingSet()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"CAP_CHOWN": true, "CAP_KILL": true, "CAP_SETUID": true, "CAP_NET_BIND_SERVICE": true}
	found := false
	for name := range known {
		found = found || got[name]
	}
	if !found {
		t.Errorf("none of %v in %v", known, got)
	}
}
