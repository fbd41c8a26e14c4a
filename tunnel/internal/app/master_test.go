// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// output is a buffer for the log of a running process.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run runs the binary's Run for the cluster of a small API server, until the test ends. It
// returns its log.
func run(t *testing.T, args ...string) *output {
	t.Helper()
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"metadata":{"name":"kube-system","uid":"the-uid"}}`)
	}))
	log := &output{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	args = append(args,
		"--config", write(t, "probe-conf.yaml", walkthrough),
		"--health-probe-bind-address", freeAddress(t),
		"--kubeconfig", write(t, "kubeconfig", kubeconfig(t, api)))
	go func() {
		done <- Run(ctx, Process{Args: args, Env: func(string) string { return "" }, Stdout: io.Discard, Stderr: log})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v\n%s", err, log)
		}
		api.Close()
	})
	return log
}

// newMaster returns the server of a hub, and its hub.
func newMaster(t *testing.T, secrets hub.SecretSource) (*httptest.Server, *hub.Hub) {
	t.Helper()
	h, err := hub.New(hub.Options{Secrets: secrets, Binder: &letIn{}, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(h)
	t.Cleanup(func() {
		if err := h.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return server, h
}

func theSecret() [][]byte { return [][]byte{[]byte("your-token-here")} }

func eventually(t *testing.T, log *output, ok func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return ok(), nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

func TestRunConnectsToAMasterWithThePinnedKey(t *testing.T) {
	server, h := newMaster(t, theSecret)
	sum := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	log := run(t, "--probe-master-addr", server.URL, "--master-key-pin", "sha256//"+base64.StdEncoding.EncodeToString(sum[:]))
	eventually(t, log, func() bool { return h.Connected("erda-cloud") })
}

func TestRunRefusesAPinThatIsNone(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	err := Run(t.Context(), Process{
		Args: []string{
			"--config", write(t, "probe-conf.yaml", walkthrough), "--probe-master-addr", "https://m",
			"--master-key-pin", "sha256//short", "--kubeconfig", write(t, "kubeconfig", kubeconfig(t, server)),
		},
		Env: func(string) string { return "" }, Stdout: io.Discard, Stderr: io.Discard,
	})
	if err == nil || !strings.Contains(err.Error(), `reading the pinned key "sha256//short"`) {
		t.Errorf("%v", err)
	}
}

// foreignCA returns an authority that signed nothing.
func foreignCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestRunReadsTheMastersAuthorityAnew(t *testing.T) {
	server, h := newMaster(t, theSecret)
	path := write(t, "ca.pem", foreignCA(t))
	log := run(t, "--probe-master-addr", server.URL, "--master-ca-file", path)
	eventually(t, log, func() bool { return strings.Contains(log.String(), "certificate signed by unknown authority") })
	replace(t, path, certificate(server))
	eventually(t, log, func() bool { return h.Connected("erda-cloud") })
}

func TestRunFollowsASecretThatIsReplacedAtBothEnds(t *testing.T) {
	// The master takes both for a while; the agent has a new one by its next connect.
	dir := t.TempDir()
	masters := filepath.Join(dir, "secrets")
	replace(t, masters, "first\n")
	file, err := hub.NewSecretFile(masters, 0, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	server, h := newMaster(t, file.Secrets)
	agents := write(t, "secret_key", "first\n")
	log := run(t, "--probe-master-addr", server.URL, "--master-ca-file", write(t, "ca.pem", certificate(server)), "--secret-key-file", agents)
	eventually(t, log, func() bool { return h.Connected("erda-cloud") })
	replace(t, masters, "second\nfirst\n")
	eventually(t, log, func() bool { return len(file.Secrets()) == 2 }) // it looks once a second
	replace(t, agents, "second\n")
	h.Disconnect("erda-cloud", "the secret is replaced")
	eventually(t, log, func() bool { return h.Connected("erda-cloud") })
	replace(t, masters, "second\n")
	eventually(t, log, func() bool { return len(file.Secrets()) == 1 })
	h.Disconnect("erda-cloud", "the old one is gone")
	eventually(t, log, func() bool { return h.Connected("erda-cloud") })
	for _, text := range []string{"first", "second"} {
		if strings.Contains(log.String(), text) {
			t.Errorf("the log shows the secret %q:\n%s", text, log)
		}
	}
}
