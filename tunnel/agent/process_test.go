// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// Some tests need processes of their own: this binary, in a role.
const (
	roleVariable    = "TUNNEL_TEST_ROLE"
	addressVariable = "TUNNEL_TEST_ADDRESS"
)

// The clusters of such tests, by what goes through their tunnel.
const (
	idleCluster = "idle"
	downCluster = "down" // towards the hub
	upCluster   = "up"   // towards the agent
)

// flowing is after how many bytes a transfer is under way.
const flowing = 1 << 20

// play runs a role from the first line of the input to its end, and tells of what happens
// line by line.
func play(role string) int {
	input := bufio.NewReader(os.Stdin)
	if _, err := input.ReadString('\n'); err != nil {
		return 0 // the test ended before
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var group sync.WaitGroup
	switch role {
	case "router":
	case "hub":
		group.Go(func() { playHub(ctx) })
	case "agent":
		for _, cluster := range []string{idleCluster, downCluster, upCluster} {
			group.Go(func() { playAgent(ctx, cluster) })
		}
	}
	_, _ = io.Copy(io.Discard, input)
	cancel()
	group.Wait()
	return 0
}

func playHub(ctx context.Context) {
	h, err := hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte(testSecret)} },
		Binder:  letIn{},
		Log:     logr.Discard(),
	})
	if err != nil {
		panic(err)
	}
	server := httptest.NewUnstartedServer(h)
	_ = server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", os.Getenv(addressVariable)); err != nil {
		panic(err)
	}
	server.StartTLS()
	defer server.Close()
	var transfers sync.WaitGroup
	h.Subscribe(func(e hub.Event) {
		if !e.Connected {
			fmt.Println("hub lost", e.Cluster)
			return
		}
		fmt.Println("hub has", e.Cluster)
		client := &http.Client{Transport: h.RoundTripper(e.Cluster)}
		transfers.Go(func() {
			switch e.Cluster {
			case downCluster:
				if resp, err := client.Get("http://x/"); err == nil {
					count("hub", e.Cluster, resp.Body)
					_ = resp.Body.Close()
				}
			case upCluster:
				if resp, err := client.Post("http://x/", "", endless{}); err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	})
	<-ctx.Done()
	_ = h.Shutdown(context.WithoutCancel(ctx))
	transfers.Wait()
}

func playAgent(ctx context.Context, cluster string) {
	server := httptest.NewTLSServer(nil)
	sum := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	server.Close()
	opts := optionsFor("wss://" + os.Getenv(addressVariable))
	opts.Cluster = cluster
	opts.RootCAs = nil
	opts.PinnedKeys = []string{pinPrefix + base64.StdEncoding.EncodeToString(sum[:])}
	opts.Log = logr.New(teller(cluster))
	opts.Target = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			count("agent", cluster, r.Body)
			return
		}
		_, _ = io.Copy(w, endless{})
	})
	a, err := New(opts)
	if err != nil {
		panic(err)
	}
	if err := a.Run(ctx); err != nil {
		panic(err)
	}
}

// count reads all, and tells when the transfer is under way.
func count(who, cluster string, r io.Reader) {
	if _, err := io.CopyN(io.Discard, r, flowing); err == nil {
		fmt.Println(who, "gets", cluster)
	}
	_, _ = io.Copy(io.Discard, r)
}

// endless is a reader of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// teller is a logr.LogSink that tells of an agent's tunnels.
type teller string

func (l teller) Init(logr.RuntimeInfo)               {}
func (l teller) Enabled(int) bool                    { return true }
func (l teller) WithName(string) logr.LogSink        { return l }
func (l teller) WithValues(...any) logr.LogSink      { return l }
func (l teller) Error(err error, _ string, _ ...any) { fmt.Fprintln(os.Stderr, string(l), err) }
func (l teller) Info(_ int, msg string, _ ...any) {
	switch msg {
	case "Tunnel opened":
		fmt.Println("agent has", string(l))
	case "Tunnel lost":
		fmt.Println("agent lost", string(l))
	}
}

// actor is a process in a role.
type actor struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	log   *lines
}

// cast starts a process in a role, in namespaces of its own if flags say so. It waits for
// begin.
func cast(t *testing.T, role, address string, flags uintptr) *actor {
	t.Helper()
	a := &actor{cmd: exec.Command(os.Args[0]), log: &lines{added: make(chan struct{}, 1)}}
	a.cmd.Env = append(os.Environ(), roleVariable+"="+role, addressVariable+"="+address)
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	var err error
	if a.input, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatalf("starting a process for the %s: %v", role, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			a.log.add(scanner.Text())
		}
	}()
	t.Cleanup(func() {
		_ = a.input.Close()
		killer := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
		<-read
		if err := a.cmd.Wait(); err != nil {
			t.Errorf("the %s: %v", role, err)
		}
		killer.Stop()
	})
	return a
}

func (a *actor) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(a.input, "begin\n"); err != nil {
		t.Fatal(err)
	}
}

// forget makes await look only at what comes from now on.
func (a *actor) forget() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.log.all, a.log.times = nil, nil
}

// within runs an `ip` batch in the network namespace of a.
func (a *actor) within(t *testing.T, batch ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", a.cmd.Process.Pid), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(batch, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
}
