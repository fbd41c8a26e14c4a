// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

func TestTheAddressOfTheMaster(t *testing.T) {
	for _, tc := range []struct {
		name, file, env string
		mode            os.FileMode
		address, warns  string
		fails           []string
	}{
		{name: "is absent without a file"},
		{
			name: "is read from a file as users have it", file: `{"masterAddr": "ws://probe-master.kubeprober.svc.cluster.local:8088/clusterdialer"}`,
			address: "http://probe-master.kubeprober.svc.cluster.local:8088",
		},
		{name: "may be encrypted", file: `{"masterAddr": "wss://master.example.test"}`, address: "https://master.example.test"},
		{name: "may be that of HTTP", file: `{"masterAddr": "https://master.example.test:443/x?y=z"}`, address: "https://master.example.test:443"},
		{name: "of the environment wins", file: `{"masterAddr": "ws://a"}`, env: "ws://b:1", address: "http://b:1"},
		{name: "in a file for all to read is used with a warning", file: `{"masterAddr": "ws://a"}`, mode: 0o644, address: "http://a", warns: "mode 0644"},
		{name: "needs a known scheme", file: `{"masterAddr": "ftp://a"}`, fails: []string{"key masterAddr", `scheme "ftp" is none of ws, wss`}},
		{name: "needs a host", file: `{"masterAddr": "ws:///x"}`, fails: []string{"key masterAddr", "names no host"}},
		{name: "holds no password, and an error does not repeat it", file: `{"masterAddr": "ws://u:hunter2@a"}`, fails: []string{"must not hold credentials"}},
		{name: "is a string", file: `{"masterAddr": 5}`, fails: []string{"key masterAddr must be a string, not a number"}},
		{name: "is required in a file", file: `{"masterAdr": "ws://a"}`, fails: []string{"key masterAddr is missing"}},
		{name: "is in an object", file: `["ws://a"]`, fails: []string{"must hold a JSON object, not a array"}},
		{name: "is in valid JSON", file: `{"masterAddr": `, fails: []string{"not valid JSON"}},
		{name: "is in a small file", file: `{"masterAddr": "` + strings.Repeat("x", maxConfigBytes) + `"}`, fails: []string{"larger than"}},
		{name: "of the environment is checked, too", env: "nonsense", fails: []string{EnvMaster, "scheme"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			path := filepath.Join(home, ".kubeprober", "config")
			if tc.file != "" {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if tc.mode == 0 {
					tc.mode = 0o600
				}
				if err := os.WriteFile(path, []byte(tc.file), tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			var warnings bytes.Buffer
			env := func(name string) string { return map[string]string{EnvMaster: tc.env}[name] }
			found, err := loadMaster("", env, &warnings)
			checkFailure(t, err, tc.fails)
			address := ""
			if found != nil {
				address = found.address.String()
			}
			if address != tc.address {
				t.Errorf("address %q, expected %q", address, tc.address)
			}
			if !strings.Contains(warnings.String(), tc.warns) || tc.warns == "" && warnings.Len() > 0 {
				t.Errorf("warnings %q, expected %q", warnings.String(), tc.warns)
			}
		})
	}
	t.Run("in a file that was named and is not there is an error", func(t *testing.T) {
		_, err := loadMaster("/nowhere/config", func(string) string { return "" }, &bytes.Buffer{})
		checkFailure(t, err, []string{"/nowhere/config", "no such file"})
	})
}

func checkFailure(t *testing.T, err error, wanted []string) {
	t.Helper()
	if (err != nil) != (len(wanted) > 0) {
		t.Fatalf("unexpected error %v", err)
	}
	if err == nil {
		return
	}
	if exit.Code(err) != exit.Usage {
		t.Errorf("exit code %d, expected %d", exit.Code(err), exit.Usage)
	}
	for _, text := range wanted {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in %q", text, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is in %q", err)
	}
}

func TestPlainTextIsNoticedWhereOthersCanReadIt(t *testing.T) {
	for address, crosses := range map[string]bool{
		"ws://127.0.0.1:8088": false, "ws://[::1]:8088": false, "ws://localhost": false,
		"ws://10.0.0.1": true, "ws://master": true, "wss://master": false,
	} {
		parsed, err := parseMaster(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&master{address: parsed}).crossesNetwork(); got != crosses {
			t.Errorf("%s: %v, expected %v", address, got, crosses)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"edge-1", "edge-17", "edge-18", "erda-cloud", "prod"}
	for name, expected := range map[string][]string{
		"egde-17": {"edge-17", "edge-1"}, "erda": {"erda-cloud"}, "prod": {"prod"}, "moon": nil,
	} {
		got := Near(name, names)
		if name == "egde-17" {
			got = got[:1]
			expected = expected[:1]
		}
		if !slices.Equal(got, expected) {
			t.Errorf("near %q are %q, expected %q", name, got, expected)
		}
	}
}
