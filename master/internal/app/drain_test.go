// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/tunnel/agent"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func TestSpreadGrowsWithTheFleet(t *testing.T) {
	for tunnels, want := range map[int]time.Duration{
		0: 4 * time.Second, 1: 4 * time.Second, 1_000: 4 * time.Second, 5_000: 15 * time.Second, 10_000: 30 * time.Second, 1_000_000: 30 * time.Second,
	} {
		if got := spread(tunnels); got != want {
			t.Errorf("%d agents come back over %s, want %s", tunnels, got, want)
		}
	}
}

func TestServersThatStopOneAfterTheOtherShareOneDeadline(t *testing.T) {
	d := &deadline{within: time.Hour}
	first := d.time()
	if again := d.time(); !again.Equal(first) {
		t.Errorf("the second has until %s, want %s as the first", again, first)
	}
	late := &deadline{within: time.Hour}
	late.once.Do(func() { late.at = time.Now().Add(-time.Minute) })
	if left := time.Until(late.time()); left <= 0 || left > leastDrain {
		t.Errorf("when the time is over %s are left, want up to %s", left, leastDrain)
	}
	if left := time.Until((&deadline{}).time()); left > 0 {
		t.Errorf("without a time to drain %s are left", left)
	}
}

// everybody lets every agent have the name that it asks for.
type everybody struct{}

func (everybody) Bind(context.Context, hub.Identity) error { return nil }

// newHub is a master's hub and the server that it is mounted at.
func newHub(t *testing.T) (*master, *server) {
	t.Helper()
	h, err := hub.New(hub.Options{Binder: everybody{}, Log: logr.Discard(), Secrets: func() [][]byte { return [][]byte{[]byte("secret")} }})
	if err != nil {
		t.Fatal(err)
	}
	m := &master{hub: h}
	return m, &server{
		name: "hub", handler: h, http1: true, connState: h.ConnState, drain: &deadline{within: time.Minute},
		onDrain: m.drainHub, onShutdown: h.Shutdown,
	}
}

// startAgents connects agents whose clusters answer with target.
func startAgents(t *testing.T, address string, count int, target http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, count)
	for i := range count {
		a, err := agent.New(agent.Options{
			HubURL: "http://" + address, Cluster: fmt.Sprintf("edge-%d", i), UID: fmt.Sprintf("uid-%d", i), Target: target, Log: logr.Discard(),
			Secret: func() ([]byte, error) { return []byte("secret"), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- a.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range count {
			if err := <-ended; err != nil {
				t.Errorf("running an agent: %v", err)
			}
		}
	})
}

func awaitClusters(t *testing.T, h *hub.Hub, count int) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return len(h.Clusters()) == count, nil
	})
	if err != nil {
		t.Fatalf("%d agents are connected, want %d", len(h.Clusters()), count)
	}
}

func TestARestartOfTheHubLosesNoRequestAndBringsAgentsBack(t *testing.T) {
	const agents = 10
	begun, release := make(chan struct{}), make(chan struct{})
	target := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-release
		_, _ = io.WriteString(w, "complete")
	})
	m, s := newHub(t)
	address, stop := startServer(t, s)
	startAgents(t, address, agents, target)
	awaitClusters(t, m.hub, agents)

	answer := make(chan string, 1)
	go func() {
		response, err := (&http.Client{Transport: m.hub.RoundTripper("edge-3")}).Get("http://edge-3/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		said, err := io.ReadAll(response.Body)
		answer <- fmt.Sprint(string(said), err)
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The tunnels without a request end; the one at work stays.
	awaitClusters(t, m.hub, 1)
	close(release)
	if said := <-answer; said != "complete<nil>" {
		t.Errorf("the request under way got %q, want its whole answer", said)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}

	next, again := newHub(t)
	_, stop = startServerAt(t, again, address)
	awaitClusters(t, next.hub, agents)
	if err := stop(); err != nil {
		t.Errorf("stopping the next hub: %v", err)
	}
}
