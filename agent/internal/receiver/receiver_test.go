// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubeprober/kubeprober/agent/internal/capability"
	"github.com/kubeprober/kubeprober/agent/internal/record"
	"github.com/kubeprober/kubeprober/apis/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store that keeps what it is given.
type memory struct {
	mu    sync.Mutex
	err   error
	tries int
	taken map[string][]report.Checker
	// tried tells of each try, as far as somebody listens.
	tried chan struct{}
}

func newMemory() *memory {
	return &memory{taken: map[string][]report.Checker{}, tried: make(chan struct{}, 1)}
}

func (m *memory) Report(_ context.Context, ref record.Ref, node string, reported []report.Checker, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	select {
	case m.tried <- struct{}{}:
	default:
	}
	if m.err != nil {
		return m.err
	}
	key := ref.RunID + "@" + node
	m.taken[key] = append(m.taken[key], reported...)
	return nil
}

// set makes every further try fail, or succeed.
func (m *memory) set(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries
}

func (m *memory) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = map[string][]report.Checker{}
}

// attempts keeps the refusals that it is told.
type attempts struct {
	mu   sync.Mutex
	told []string
}

func (a *attempts) Refused(_ context.Context, runID, node, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, runID+"@"+node+": "+why)
}

func (a *attempts) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told)
}

type fixture struct {
	url       string
	receiver  *Receiver
	store     *memory
	attempts  *attempts
	authority *capability.Authority
	clock     *clocktesting.FakePassiveClock
	logged    *syncBuffer
	// stop ends the receiver and waits for it.
	stop func()
}

type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) add(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer.WriteString(text)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

var claims = capability.Claims{Namespace: "kubeprober", Probe: "k8s", OwnerUID: "uid", RunID: "run-1", Deadline: 2000}

// newFixture makes a receiver that does not listen.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	authority, err := capability.NewAuthority(bytes.Repeat([]byte{7}, capability.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		store: newMemory(), attempts: &attempts{}, authority: authority,
		clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0)), logged: &syncBuffer{},
	}
	log := funcr.New(func(prefix, args string) { f.logged.add(prefix + args + "\n") }, funcr.Options{Verbosity: 10})
	f.receiver = New("127.0.0.1:0", authority, f.store, f.attempts, f.clock, log)
	f.receiver.holdFor = 300 * time.Millisecond
	return f
}

// start runs a receiver on a free port until the test ends.
func start(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.receiver.Start(ctx) }()
	f.url = "http://" + (<-f.receiver.bound).String()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		f.stop()
	})
	return f
}

func (f *fixture) urlOf(t *testing.T, c capability.Claims) string {
	t.Helper()
	return f.url + "/probe-status/" + f.token(t, c)
}

func (f *fixture) token(t testing.TB, c capability.Claims) string {
	t.Helper()
	token, err := f.authority.Issue(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func post(t *testing.T, url string, body io.Reader) (code int, text string) {
	t.Helper()
	response, err := http.Post(url, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

const good = `{"probeName":"k8s","probeNamespace":"kubeprober","checkers":[{"name":"dns","status":"pass"}]}`

func TestAReportIsAnsweredWithWhatBecameOfIt(t *testing.T) {
	other, late := claims, claims
	other.Probe, late.Deadline = "host", 999
	many := `{"checkers":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","status":"PASS"},`, 10000), ",") + `]}`
	tests := map[string]struct {
		claims capability.Claims
		body   string
		stored error
		code   int
		says   string
	}{
		"a good one":                         {body: good, code: 200, says: "stored"},
		"one that leaves the probe out":      {body: `{"checkers":[{"name":"dns","status":"Warn","message":"m"}]}`, code: 200},
		"garbage":                            {body: "garbage", code: 400, says: "parsing report"},
		"half of one":                        {body: good[:20], code: 400, says: "parsing report"},
		"nothing":                            {body: "", code: 400, says: "parsing report"},
		"an unknown status":                  {body: `{"checkers":[{"name":"dns","status":"fine"}]}`, code: 400, says: `status "fine" of checker "dns"`},
		"no checkers":                        {body: `{"checkers":[]}`, code: 400, says: "checkers is empty"},
		"10,000 checkers":                    {body: many, code: 400, says: "more than 1000"},
		"more than 1 MiB":                    {body: strings.Repeat(" ", report.MaxBytes) + good, code: 413, says: "larger than"},
		"one for another probe":              {claims: other, body: good, code: 403, says: `the run is one of probe "host"`},
		"one for another namespace":          {body: strings.Replace(good, `"kubeprober"`, `"default"`, 1), code: 403, says: `namespace "default"`},
		"one after the deadline":             {claims: late, body: good, code: 410, says: "deadline"},
		"one of a run that is over":          {body: good, stored: record.ErrRunOver, code: 410, says: "over"},
		"one too many":                       {body: good, stored: fmt.Errorf("%w: 1001", record.ErrTooMany), code: 400, says: "more checkers"},
		"one that does not fit":              {body: good, stored: record.ErrTooLarge, code: 413, says: "shorter messages"},
		"one while the API server is absent": {body: good, stored: errors.New("connection refused at 10.0.0.1"), code: 503, says: "send it again"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.store.err = test.stored
			if test.claims == (capability.Claims{}) {
				test.claims = claims
			}
			url := f.urlOf(t, test.claims)
			code, text := post(t, url, strings.NewReader(test.body))
			if code != test.code || !strings.Contains(text, test.says) {
				t.Errorf("answer %d %q, want %d %q", code, text, test.code, test.says)
			}
			if stored := len(f.store.taken) > 0; stored != (code == 200) {
				t.Errorf("stored is %v with answer %d", stored, code)
			}
			if token := url[strings.LastIndex(url, "/")+1:]; strings.Contains(f.logged.String(), token) {
				t.Error("the capability is in the log")
			}
			if strings.Contains(text, "10.0.0.1") {
				t.Error("the answer tells of the inside of the cluster")
			}
		})
	}
}

func TestAURLThatWasNotGivenOutIsForbidden(t *testing.T) {
	f := start(t)
	forged := f.urlOf(t, claims)
	forged = forged[:len(forged)-2] + "xx"
	for name, url := range map[string]string{
		"the address of the original": f.url + "/probe-status", "an empty capability": f.url + "/probe-status/",
		"a forged one": forged, "a guess": f.url + "/probe-status/run-1.2000.abc", "one that is too long": f.url + "/probe-status/" + strings.Repeat("a", 5000),
	} {
		if code, text := post(t, url, strings.NewReader(good)); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	response, err := http.Get(f.urlOf(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered with %d", response.StatusCode)
	}
	if len(f.store.taken) > 0 {
		t.Errorf("stored %v", f.store.taken)
	}
}

func TestADuplicateIsTakenAgain(t *testing.T) {
	f := start(t)
	for range 2 {
		if code, text := post(t, f.urlOf(t, claims), strings.NewReader(good)); code != http.StatusOK {
			t.Errorf("%d %s", code, text)
		}
	}
}

func TestACapabilityCannotBeReplayedAfterItsDeadline(t *testing.T) {
	f := start(t)
	url := f.urlOf(t, claims)
	if code, _ := post(t, url, strings.NewReader(good)); code != http.StatusOK {
		t.Fatal(code)
	}
	f.clock.SetTime(time.Unix(2001, 0))
	if code, _ := post(t, url, strings.NewReader(good)); code != http.StatusGone {
		t.Errorf("a replay is answered with %d", code)
	}
}

func TestARunThatReportsTooOftenIsSlowedDown(t *testing.T) {
	f := start(t)
	url := f.urlOf(t, claims)
	for range reportsAtOnce {
		if code, text := post(t, url, strings.NewReader(good)); code != http.StatusOK {
			t.Fatal(code, text)
		}
	}
	response, err := http.Post(url, "application/json", strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "1" {
		t.Errorf("answer %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	second := claims
	second.RunID = "run-2"
	if code, _ := post(t, f.urlOf(t, second), strings.NewReader(good)); code != http.StatusOK {
		t.Errorf("another run is answered with %d", code)
	}
	f.clock.SetTime(time.Unix(1001, 0))
	if code, _ := post(t, url, strings.NewReader(good)); code != http.StatusOK {
		t.Errorf("a second later the answer is %d", code)
	}
}

func TestConcurrentReportsAreAllTaken(t *testing.T) {
	f := start(t)
	url := f.urlOf(t, claims)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			body := fmt.Sprintf(`{"checkers":[{"name":"c%d","status":"PASS"}]}`, i)
			if code, text := post(t, url, strings.NewReader(body)); code != http.StatusOK {
				t.Errorf("%d %s", code, text)
			}
		})
	}
	group.Wait()
	if n := len(f.store.taken["run-1@"]); n != 100 {
		t.Errorf("%d of 100 reports were taken", n)
	}
}

func TestASlowReportIsCutOffWithoutHoldingUpOthers(t *testing.T) {
	authority, err := capability.NewAuthority(bytes.Repeat([]byte{7}, capability.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	store := newMemory()
	server := &http.Server{
		Handler:           New("", authority, store, &attempts{}, clock.RealClock{}, logr.Discard()).Handler(),
		ReadTimeout:       200 * time.Millisecond,
		ReadHeaderTimeout: 200 * time.Millisecond,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	}()
	alive := claims
	alive.Deadline = time.Now().Add(time.Hour).Unix()
	token, err := authority.Issue(alive)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := fmt.Fprintf(connection, "POST /probe-status/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", token); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("a slow report is answered with %q", answer)
	}
	if len(store.taken) > 0 {
		t.Error("a part of a report is stored")
	}
}

func TestTheReceiverIsReadyWhileItListens(t *testing.T) {
	authority, err := capability.NewAuthority(bytes.Repeat([]byte{7}, capability.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	r := New("127.0.0.1:0", authority, newMemory(), &attempts{}, clock.RealClock{}, logr.Discard())
	if r.Ready(nil) == nil {
		t.Error("ready before it listens")
	}
	if err := New("no-address", authority, newMemory(), &attempts{}, clock.RealClock{}, logr.Discard()).Start(t.Context()); err == nil {
		t.Error("an address that cannot be listened on is no error")
	}
}
