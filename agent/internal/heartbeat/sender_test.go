// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "do-not-tell"

// master is a hub that takes heartbeats.
type master struct {
	*httptest.Server
	code  atomic.Int32
	beats chan *heartbeat.Heartbeat
	asked chan http.Header
}

func newMaster(t *testing.T, tls bool) *master {
	t.Helper()
	m := &master{beats: make(chan *heartbeat.Heartbeat, 100), asked: make(chan http.Header, 100)}
	m.code.Store(http.StatusNoContent)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked <- r.Header
		if r.Method != http.MethodPost || r.URL.Path != heartbeat.Path {
			http.NotFound(w, r)
			return
		}
		beat, err := heartbeat.Decode(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		code := int(m.code.Load())
		if code >= 300 && code < 400 {
			w.Header().Set("Location", "http://elsewhere.test/")
		}
		w.WriteHeader(code)
		if code >= 400 {
			_, _ = w.Write([]byte("the name erda-cloud is bound to another cluster"))
			return
		}
		m.beats <- beat
	})
	if tls {
		m.Server = httptest.NewTLSServer(handler)
	} else {
		m.Server = httptest.NewServer(handler)
	}
	t.Cleanup(m.Close)
	return m
}

type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(_, args string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, args)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}

// fleet is a state that the test can change.
type fleet struct {
	nodes   atomic.Int32
	changed chan struct{}
	err     atomic.Pointer[error]
}

func newFleet() *fleet { return &fleet{changed: make(chan struct{}, 1)} }

func (f *fleet) state(context.Context) (*heartbeat.Heartbeat, error) {
	if err := f.err.Load(); err != nil {
		return nil, *err
	}
	return &heartbeat.Heartbeat{ProbeNamespace: "kubeprober", NodeCount: f.nodes.Load()}, nil
}

func (f *fleet) set(nodes int32) {
	f.nodes.Store(nodes)
	f.notify()
}

func (f *fleet) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// run starts a sender that stops with the test.
func run(t *testing.T, m *master, f *fleet, change ...func(*Config)) *lines {
	t.Helper()
	u, err := url.Parse(m.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{MasterURL: u, ClusterName: "erda-cloud", Secret: secret, ClusterUID: "uid-1"}
	for _, c := range change {
		c(&config)
	}
	l := &lines{}
	s := NewSender(config, f.state, f.changed, funcr.New(l.add, funcr.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
		for _, line := range l.all() {
			if strings.Contains(line, secret) {
				t.Errorf("the secret is in the log: %s", line)
			}
		}
	})
	return l
}

func next(t *testing.T, m *master) *heartbeat.Heartbeat {
	t.Helper()
	select {
	case beat := <-m.beats:
		return beat
	case <-time.After(20 * time.Second):
		t.Fatal("no heartbeat comes")
		return nil
	}
}

func TestAHeartbeatSaysWhoItIsFrom(t *testing.T) {
	m, f := newMaster(t, false), newFleet()
	f.nodes.Store(3)
	run(t, m, f)
	if beat := next(t, m); beat.NodeCount != 3 || beat.ProbeNamespace != "kubeprober" {
		t.Errorf("got %+v", beat)
	}
	header := <-m.asked
	for name, want := range map[string]string{heartbeat.ClusterHeader: "erda-cloud", heartbeat.SecretHeader: secret, heartbeat.ClusterUIDHeader: "uid-1"} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestChangesAreSentTogetherAndAtOnce(t *testing.T) {
	m, f := newMaster(t, false), newFleet()
	run(t, m, f)
	next(t, m)
	for n := range 50 {
		f.set(int32(n) + 1)
	}
	if beat := next(t, m); beat.NodeCount != 50 {
		t.Errorf("the heartbeat after a change tells of %d nodes", beat.NodeCount)
	}
	// What is not news is not sent.
	f.notify()
	select {
	case beat := <-m.beats:
		t.Errorf("a heartbeat without news: %+v", beat)
	case <-time.After(3 * settleTime):
	}
}

func TestAMasterInTroubleIsTriedAgainAndComplainedOfOnce(t *testing.T) {
	m, f := newMaster(t, false), newFleet()
	m.code.Store(http.StatusForbidden)
	l := run(t, m, f)
	for range 3 {
		<-m.asked
	}
	m.code.Store(http.StatusNoContent)
	next(t, m)
	f.set(1)
	next(t, m)
	var complaints, recoveries int
	for _, line := range l.all() {
		if strings.Contains(line, "cannot be sent") {
			complaints++
			if !strings.Contains(line, "bound to another cluster") {
				t.Errorf("the master's words are not in the log: %s", line)
			}
		}
		if strings.Contains(line, "Master takes heartbeats") {
			recoveries++
		}
	}
	if complaints != 1 || recoveries != 1 {
		t.Errorf("%d complaints and %d recoveries are logged: %q", complaints, recoveries, l.all())
	}
}

func TestAStateThatCannotBeReadIsTriedAgain(t *testing.T) {
	m, f := newMaster(t, false), newFleet()
	err := errors.New("no cache")
	f.err.Store(&err)
	run(t, m, f)
	f.err.Store(nil)
	next(t, m)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	m, f := newMaster(t, false), newFleet()
	m.code.Store(http.StatusTemporaryRedirect)
	l := run(t, m, f)
	<-m.asked
	<-m.asked
	m.code.Store(http.StatusNoContent)
	next(t, m)
	if text := strings.Join(l.all(), "\n"); !strings.Contains(text, "correct probe_master_addr") {
		t.Errorf("the log is %q", text)
	}
}

func TestAnHTTPSMasterIsVerified(t *testing.T) {
	m, f := newMaster(t, true), newFleet()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw}))
	run(t, m, f, func(c *Config) { c.MasterCA = pool })
	next(t, m)
}

func TestAnHTTPSMasterOfAnotherCAGetsNothing(t *testing.T) {
	m, f := newMaster(t, true), newFleet()
	m.Config.ErrorLog = nil
	l := run(t, m, f)
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(strings.Join(l.all(), "\n"), "certificate") {
		if time.Now().After(deadline) {
			t.Fatalf("the log is %q", l.all())
		}
		select {
		case <-m.asked:
			t.Fatal("a request was sent to a master that nobody vouches for")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestWaitsAreSpread(t *testing.T) {
	s := &Sender{failures: 30}
	for range 1000 {
		if d := jitter(heartbeat.Interval); d < heartbeat.Interval*9/10 || d > heartbeat.Interval*11/10 {
			t.Fatalf("an interval of %v", d)
		}
		if d := s.backoff(); d < 0 || d >= heartbeat.Interval {
			t.Fatalf("a backoff of %v", d)
		}
	}
}
