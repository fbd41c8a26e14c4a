// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompleteRefusesWhatIsNotSafe(t *testing.T) {
	blank := filepath.Join(t.TempDir(), "blank")
	if err := os.WriteFile(blank, []byte("\n \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, secret string
		edit         func(*Options)
		want         string
	}{
		{name: "no secret", want: "no secret: set SERVER_SECRET_KEY"},
		{name: "a blank secret", secret: "  ", want: "no secret"},
		{name: "a blank file, whatever the environment holds", secret: "good", edit: func(o *Options) { o.SecretFile = blank }, want: "an empty secret"},
		{name: "a file that is not there", edit: func(o *Options) { o.SecretFile = "/nowhere" }, want: "using --secret-key-file"},
		{name: "a certificate without a key", secret: "good", edit: func(o *Options) { o.HubCertFile = "x" }, want: "set together"},
		{name: "an unknown provider", secret: "good", edit: func(o *Options) { o.CertProvider = "nobody" }, want: "it must be self or cert-manager"},
		{name: "no room for a cluster", secret: "good", edit: func(o *Options) { o.MaxClusters = 0 }, want: "--max-clusters is 0"},
		{name: "a negative overlap", secret: "good", edit: func(o *Options) { o.SecretOverlap = -1 }, want: "--secret-key-overlap is -1ns"},
		{name: "a negative time to drain", secret: "good", edit: func(o *Options) { o.DrainTimeout = -1 }, want: "--drain-timeout is -1ns"},
		{name: "nobody at work", secret: "good", edit: func(o *Options) { o.Concurrency = 0 }, want: "at least 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(SecretEnv, test.secret)
			o := NewOptions()
			if test.edit != nil {
				test.edit(o)
			}
			if err := o.Complete(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Complete() = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestCompleteTakesTwoSecretsFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte("new\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := NewOptions()
	o.SecretFile = file
	if err := o.Complete(); err != nil {
		t.Fatal(err)
	}
	if got := o.secrets(); len(got) != 2 || string(got[0]) != "new" || string(got[1]) != "old" {
		t.Errorf("secrets = %q", got)
	}
}
