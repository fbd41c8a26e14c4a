// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeprober/kubeprober/agent/internal/app"
)

const walkthroughFile = `probe_master_addr: http://probe-master.kubeprober.svc.cluster.local:8088
cluster_name: erda-cloud
secret_key: your-token-here
`

func parse(t *testing.T, file string, env map[string]string, args ...string) (*app.Options, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe-conf.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return app.ParseOptions(append([]string{"--config", path}, args...), func(name string) string { return env[name] })
}

func TestOptionsPreferFlagsToEnvironmentToFile(t *testing.T) {
	tests := map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"the file when nothing else is there": {want: "http://probe-master.kubeprober.svc.cluster.local:8088 erda-cloud your-token-here kubeprober"},
		"the environment over the file": {
			env:  map[string]string{"PROBE_MASTER_ADDR": "https://env:1", "CLUSTER_NAME": "env", "SECRET_KEY": "env-secret", "POD_NAMESPACE": "env-ns"},
			want: "https://env:1 env env-secret env-ns",
		},
		"flags over the environment": {
			args: []string{"--probe-master-addr", "https://flag:1", "--cluster-name", "flag", "--probe-namespace", "flag-ns"},
			env:  map[string]string{"PROBE_MASTER_ADDR": "https://env:1", "CLUSTER_NAME": "env", "POD_NAMESPACE": "env-ns"},
			want: "https://flag:1 flag your-token-here flag-ns",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := parse(t, walkthroughFile, test.env, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join([]string{o.MasterAddr, o.ClusterName, o.SecretKey, o.Namespace}, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheSecretFileWinsOverTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret_key")
	if err := os.WriteFile(path, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse(t, walkthroughFile, map[string]string{"SECRET_KEY": "env-secret"}, "--secret-key-file", path)
	if err != nil {
		t.Fatal(err)
	}
	if o.SecretKey != "from-file" {
		t.Errorf("the secret is %q", o.SecretKey)
	}
}

func TestAnEmptyFileMakesTheAgentStandAlone(t *testing.T) {
	for _, file := range []string{"", "# nothing\n", "probe_master_addr:\n"} {
		o, err := parse(t, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o.MasterAddr != "" || o.ReportURL != "" || o.LogLevel != "info" {
			t.Errorf("of %q came %+v", file, o)
		}
	}
}

func TestOptionalKeysOfTheFile(t *testing.T) {
	o, err := parse(t, "agent_debug: \"true\"\nextra_status: {zone: a, size: 3}\nmeaning: 42\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Development || o.LogLevel != "debug" || o.ExtraStatus["zone"] != "a" || o.ExtraStatus["size"] != "3" {
		t.Errorf("got %+v", o)
	}
	if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], `"meaning"`) {
		t.Errorf("warnings are %q", o.Warnings)
	}
	if o, err = parse(t, "debug_level: 4\nagent_debug: true\n", nil); err != nil || o.LogLevel != "4" {
		t.Errorf("debug_level is %+v, error %v", o, err)
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	tests := map[string]struct {
		file string
		args []string
		want []string
	}{
		"an address without a name":    {file: "probe_master_addr: http://m:1\nsecret_key: s\n", want: []string{"cluster_name", "probe-conf.yaml"}},
		"an address without a secret":  {file: "probe_master_addr: http://m:1\ncluster_name: c\n", want: []string{"secret_key", "probe-conf.yaml"}},
		"a name that is none":          {file: "probe_master_addr: http://m:1\nsecret_key: s\ncluster_name: No_Name\n", want: []string{"cluster_name", "No_Name"}},
		"an address that is none":      {file: "probe_master_addr: master:8088\ncluster_name: c\nsecret_key: s\n", want: []string{"probe_master_addr", "http://host:8088"}},
		"an address with a password":   {file: "probe_master_addr: http://a:b@m:1\ncluster_name: c\nsecret_key: s\n", want: []string{"probe_master_addr"}},
		"a number for a secret":        {file: "secret_key: 0123\n", want: []string{"secret_key", "quotes"}},
		"a list for a text":            {file: "debug_level: [a]\n", want: []string{"debug_level"}},
		"no truth value":               {file: "agent_debug: perhaps\n", want: []string{"agent_debug", "perhaps"}},
		"no YAML":                      {file: "{", want: []string{"parsing", "probe-conf.yaml"}},
		"a file that is not there":     {args: []string{"--config", "/nowhere/conf.yaml"}, want: []string{"/nowhere/conf.yaml"}},
		"a secret that is not there":   {args: []string{"--secret-key-file", "/nowhere/secret"}, want: []string{"/nowhere/secret"}},
		"an argument that is no flag":  {args: []string{"run"}, want: []string{`"run"`}},
		"a namespace that is none":     {args: []string{"--probe-namespace", "A"}, want: []string{"--probe-namespace"}},
		"a report URL that is none":    {args: []string{"--report-url", "ftp://x"}, want: []string{"--report-url"}},
		"a grace that is none":         {args: []string{"--stuck-grace-period", "0s"}, want: []string{"--stuck-grace-period"}},
		"elevated probes otherwise":    {args: []string{"--elevated-probes", "Allow"}, want: []string{"--elevated-probes", "Allow", "Namespace or Refuse"}},
		"elevated probes nowhere":      {args: []string{"--elevated-namespace", "a.b"}, want: []string{"--elevated-namespace"}},
		"a secret is never in a error": {file: "probe_master_addr: http://m:1\nsecret_key: hidden\ncluster_name: No_Name\n", want: []string{"cluster_name"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, test.file, nil, test.args...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %q tells the secret", err)
			}
		})
	}
	if _, err := app.NewLogger(&app.Options{LogLevel: "loud"}, os.Stderr); err == nil || !strings.Contains(err.Error(), "loud") {
		t.Errorf("log level loud: %v", err)
	}
}
