// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// client-go keeps its transports, and their idle connections, for the process's life.
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
	)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const walkthrough = `
probe_master_addr: http://probe-master.kubeprober.svc.cluster.local:8088
cluster_name: erda-cloud
secret_key: your-token-here
`

func TestSettings(t *testing.T) {
	cases := []struct {
		name   string
		file   string
		flags  func(*flags)
		env    map[string]string
		want   settings
		secret string
		says   string
	}{
		{
			name:   "the file of the walkthrough is enough",
			file:   walkthrough,
			want:   settings{masterAddr: "http://probe-master.kubeprober.svc.cluster.local:8088", cluster: "erda-cloud"},
			secret: "your-token-here",
		},
		{
			name:   "the environment goes before the file",
			file:   walkthrough,
			env:    map[string]string{"PROBE_MASTER_ADDR": "https://m", "CLUSTER_NAME": "c", "SECRET_KEY": "s\n"},
			want:   settings{masterAddr: "https://m", cluster: "c"},
			secret: "s",
		},
		{
			name:   "flags go before the environment",
			file:   walkthrough,
			env:    map[string]string{"PROBE_MASTER_ADDR": "https://m", "CLUSTER_NAME": "c"},
			flags:  func(f *flags) { f.masterAddr, f.cluster = "https://flag", "flag" },
			want:   settings{masterAddr: "https://flag", cluster: "flag"},
			secret: "your-token-here",
		},
		{
			name:   "debugging makes the log talk more",
			file:   walkthrough + "agent_debug: true\n",
			want:   settings{masterAddr: "http://probe-master.kubeprober.svc.cluster.local:8088", cluster: "erda-cloud", verbosity: 1},
			secret: "your-token-here",
		},
		{
			name:   "the debug level may be quoted",
			file:   walkthrough + "debug_level: \"4\"\n",
			want:   settings{masterAddr: "http://probe-master.kubeprober.svc.cluster.local:8088", cluster: "erda-cloud", verbosity: 4},
			secret: "your-token-here",
		},
		{
			name:   "unknown keys are told",
			file:   walkthrough + "colour: red\n",
			want:   settings{masterAddr: "http://probe-master.kubeprober.svc.cluster.local:8088", cluster: "erda-cloud", unknown: []string{"colour"}},
			secret: "your-token-here",
		},
		{name: "a missing address names key and file", file: "cluster_name: c\nsecret_key: s\n", says: "set probe_master_addr in "},
		{name: "a missing cluster name names key and file", file: "probe_master_addr: http://m\nsecret_key: s\n", says: "set cluster_name in "},
		{name: "a missing secret names key and file", file: "probe_master_addr: http://m\ncluster_name: c\n", says: "set secret_key in "},
		{name: "an empty secret is a missing one", file: "probe_master_addr: http://m\ncluster_name: c\nsecret_key: \"\"\n", says: "set secret_key in "},
		{name: "a number is no secret", file: "probe_master_addr: http://m\ncluster_name: c\nsecret_key: 007\n", says: "secret_key must be a string: put the value in quotes"},
		{name: "a wild debug level is refused", file: walkthrough + "debug_level: loud\n", says: "debug_level is \"loud\""},
		{name: "a wild debug switch is refused", file: walkthrough + "agent_debug: maybe\n", says: "agent_debug is \"maybe\""},
		{name: "bad YAML names the file", file: "a: b: c", says: "probe-conf.yaml"},
		{name: "a secret file that is missing is an error", file: walkthrough, flags: func(f *flags) { f.secretFile = "/nowhere/secret" }, says: "/nowhere/secret"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f := &flags{configFile: write(t, "probe-conf.yaml", tc.file)}
			if tc.flags != nil {
				tc.flags(f)
			}
			env := func(key string) string { return tc.env[key] }
			got, err := resolve(f, env)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("%v, want an error that says %q", err, tc.says)
				}
				if strings.Contains(err.Error(), "your-token-here") {
					t.Error("the error shows the secret")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(*got) != fmt.Sprint(tc.want) {
				t.Errorf("settings %+v, want %+v", *got, tc.want)
			}
			if key, err := secret(f, env); err != nil || string(key) != tc.secret {
				t.Errorf("secret %q, %v, want %q", key, err, tc.secret)
			}
		})
	}
}

func TestSecretFileIsReadAnewEachTime(t *testing.T) {
	path := write(t, "secret_key", "old\n")
	f := &flags{secretFile: path}
	none := func(string) string { return "" }
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secret(f, none); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

func TestRunRefusesABadCommandLine(t *testing.T) {
	for _, args := range [][]string{{"--no-such-flag"}, {"stray"}, {"--config", "/nowhere/probe-conf.yaml"}} {
		err := Run(t.Context(), Process{Args: args, Env: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard})
		if err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestRunPrintsItsVersion(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Process{Args: []string{"--version"}, Stdout: &out, Stderr: io.Discard, Version: "v1.2.3"})
	if err != nil || out.String() != "v1.2.3\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

type letIn struct{ uid atomic.Value }

func (l *letIn) Bind(_ context.Context, id hub.Identity) error {
	l.uid.Store(id.UID)
	return nil
}

func TestRunConnectsTheClusterOfTheKubeconfig(t *testing.T) {
	failures := atomic.Int32{}
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer the-token":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case r.URL.Path == identityPath && failures.Add(1) == 1:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		case r.URL.Path == identityPath:
			_, _ = io.WriteString(w, `{"metadata":{"name":"kube-system","uid":"the-uid"}}`)
		default:
			_, _ = io.WriteString(w, "hello from "+r.URL.Path)
		}
	}))
	defer api.Close()
	binder := &letIn{}
	h, err := hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte("your-token-here")} },
		Binder:  binder,
		Log:     logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	master := httptest.NewTLSServer(h)
	defer master.Close()
	up := make(chan hub.Event, 10)
	h.Subscribe(func(e hub.Event) { up <- e })

	address := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		done <- Run(ctx, Process{
			Args: []string{
				"--config", write(t, "probe-conf.yaml", walkthrough),
				"--probe-master-addr", master.URL,
				"--master-ca-file", write(t, "ca.pem", certificate(master)),
				"--health-probe-bind-address", address,
				"--kubeconfig", write(t, "kubeconfig", kubeconfig(t, api)),
			},
			Env:     func(string) string { return "" },
			Stdout:  io.Discard,
			Stderr:  &log,
			Version: "v0.1.5",
		})
	}()
	select {
	case <-up:
	case err := <-done:
		t.Fatalf("Run: %v\n%s", err, log.String())
	case <-time.After(20 * time.Second):
		t.Fatal("the cluster does not connect")
	}
	if got := binder.uid.Load(); got != "the-uid" {
		t.Errorf("UID %v", got)
	}
	resp, err := (&http.Client{Transport: h.RoundTripper("erda-cloud")}).Get("http://x/version")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(text) != "hello from /version" {
		t.Errorf("answer %q", text)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/connected": 200, "/other": 404} {
		if got := status(t, address, path); got != want {
			t.Errorf("%s answers %d, want %d", path, got, want)
		}
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return status(t, address, "/connected") == http.StatusServiceUnavailable, nil
	})
	if err != nil {
		t.Fatalf("waiting for /connected to say no: %v", err)
	}
	if got := status(t, address, "/readyz"); got != http.StatusOK {
		t.Errorf("without the master /readyz answers %d", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if strings.Contains(log.String(), "your-token-here") || strings.Contains(log.String(), "the-token") {
		t.Error("the log shows a secret")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func status(t *testing.T, address, path string) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func kubeconfig(t *testing.T, s *httptest.Server) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: x, user: {token: the-token}}]
`, s.URL, write(t, "api-ca.pem", certificate(s)))
}
