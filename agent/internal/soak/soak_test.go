// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package soak_test lets agents run many probes for a long time, on a clock that runs ahead, against a real API server, and
// crashes them at random requests. Then it holds what was due against what has run, what is recorded and what is left behind. It
// knows the agent as a process: its flags, its endpoints and what it writes.
package soak_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

var (
	full = flag.Bool("soak.full", false, "200 probes for ten minutes with 20 crashes, instead of a short soak")
	seed = flag.Uint64("soak.seed", 0, "what is drawn follows from this number; 0 draws it")
	logs = flag.String("soak.logs", "", "folder for the logs of the agents, which are lost without")
)

const (
	containerName = "checker"
	// timeout of a run, in seconds: it ends before the next is due.
	timeout = 45

	// step is how far the clock goes at once, and pace how long that takes at least.
	step = time.Second
	pace = 40 * time.Millisecond
	// While an agent is behind by more than slack, a step takes as long as hold, and it has so many steps of patience to come after:
	// half of what lies between two runs. So none is left out because the machine is slow, and one that waits for the next is found.
	slack    = 3 * time.Second
	hold     = 4 * time.Second
	patience = 30

	// What the runner keeps of the finished runs of a probe.
	keepSucceeded, keepFailed = 1, 2
	settleTimeout             = 30 * time.Second
)

// plan is what a soak goes through. The phases share the time equally.
type plan struct {
	probes, crashes int
	length          time.Duration
	// away is for how many seconds a crashed agent stays away at most; more than 60.
	away   int
	phases []phase
}

// phase says how many agents run, and whether they elect a leader. Without, all of them schedule at once.
type phase struct {
	replicas int
	elect    bool
}

var (
	shortPlan = plan{probes: 30, crashes: 4, length: 150 * time.Second, away: 90, phases: []phase{{1, false}, {2, false}}}
	fullPlan  = plan{probes: 200, crashes: 20, length: 10 * time.Minute, away: 150, phases: []phase{{1, false}, {2, false}, {2, true}}}
)

func TestSoak(t *testing.T) {
	p := shortPlan
	if *full {
		p = fullPlan
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	// The agents have logs of their own.
	ctrl.SetLogger(logr.Discard())
	t.Logf("-soak.full=%t -soak.seed=%d", *full, *seed)
	s := newSoak(t, p, *seed)
	s.run(t.Context())
	s.print()
}

// soak is one soak.
type soak struct {
	t       *testing.T
	plan    plan
	rng     *rand.Rand
	seed    uint64
	site    *site
	api     client.Client
	ledger  *ledger
	cluster *cluster
	probes  []*kubeproberv1.Probe

	start, now time.Time
	phase      int
	replicas   []*replica
	// serial names replicas, restarts are when ended ones come back.
	serial   int
	restarts []time.Time
	crashes  int
	next     time.Time
	// down is since when an agent has crashed and none has been up to date; zero when one is.
	down    time.Time
	outages []outage
	late    int

	counts             counts
	jobsLeft, podsLeft int
}

// newSoak makes a control plane with probes in it.
func newSoak(t *testing.T, p plan, seed uint64) *soak {
	t.Helper()
	s := &soak{t: t, plan: p, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), ledger: newLedger()}
	environment := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "apis", "crds")}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("starting the API server: %v; `make -C agent test` sets KUBEBUILDER_ASSETS", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	config.QPS = -1
	scheme, err := app.Scheme()
	s.must(err)
	s.api, err = client.New(config, client.Options{Scheme: scheme})
	s.must(err)
	dir := t.TempDir()
	s.site = &site{kubeconfig: filepath.Join(dir, "kubeconfig"), namespace: "soak", logs: dir, changed: s.ledger.notify}
	if *logs != "" {
		s.site.logs = *logs
	}
	s.must(os.WriteFile(s.site.kubeconfig, environment.KubeConfig, 0o600))
	s.cluster = &cluster{
		api: s.api, ledger: s.ledger, seed: seed, receivers: s.receivers,
		client: &http.Client{Timeout: reportTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	ctx := t.Context()
	s.must(s.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.site.namespace}}))
	kubelet, err := s.cluster.serveLogs(ctx)
	t.Cleanup(kubelet.Close)
	s.must(err)
	informers, err := cache.New(config, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{s.site.namespace: {}}})
	s.must(err)
	s.createProbes(ctx)
	s.observe(ctx, informers)
	return s
}

func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v; to repeat: -soak.full=%t -soak.seed=%d", err, *full, s.seed)
	}
}

func (s *soak) createProbes(ctx context.Context) {
	system := &corev1.Namespace{}
	s.must(s.api.Get(ctx, client.ObjectKey{Name: "kube-system"}, system))
	for i := range s.plan.probes {
		probe := &kubeproberv1.Probe{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.site.namespace, Name: fmt.Sprintf("probe-%03d", i)},
			Spec: kubeproberv1.ProbeSpec{
				Policy: kubeproberv1.ProbePolicy{
					RunInterval: ptr.To(int32(interval / time.Minute)), RunIntervalRandom: ptr.To[int32](1), TimeoutSeconds: ptr.To[int32](timeout),
				},
				Template: corev1.PodSpec{Containers: []corev1.Container{{Name: containerName, Image: "example.test/checker:v1"}}},
			},
		}
		s.must(s.api.Create(ctx, probe))
		s.probes = append(s.probes, probe)
	}
	s.start = time.Now().Truncate(time.Second)
	s.now = s.start
	for _, probe := range s.probes {
		s.ledger.open(probe, string(system.UID), s.start.Add(3*s.plan.length))
	}
}

// observe follows the Jobs and ProbeStatuses of the API server.
func (s *soak) observe(ctx context.Context, informers cache.Cache) {
	jobs, err := informers.GetInformer(ctx, &batchv1.Job{})
	s.must(err)
	see := func(object any) {
		if job, ok := object.(*batchv1.Job); ok {
			s.ledger.seeJob(job, s.cluster.begin)
		}
	}
	_, err = jobs.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, object any) { see(object) },
		DeleteFunc: func(object any) {
			if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			if job, ok := object.(*batchv1.Job); ok {
				s.ledger.loseJob(job)
			}
		},
	})
	s.must(err)
	statuses, err := informers.GetInformer(ctx, &kubeproberv1.ProbeStatus{})
	s.must(err)
	tell := func(object any) {
		if status, ok := object.(*kubeproberv1.ProbeStatus); ok {
			s.ledger.seeStatus(status)
		}
	}
	_, err = statuses.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, object any) { tell(object) }})
	s.must(err)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { ended <- informers.Start(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("following the API server: %v", err)
		}
	})
	if !informers.WaitForCacheSync(ctx) {
		s.t.Fatal("the informers did not sync")
	}
}

// run lets the time pass, twice as long as planned if crashes are left, and settles.
func (s *soak) run(ctx context.Context) {
	s.t.Logf("the clock starts at %s", s.start.UTC())
	s.enter(ctx, 0)
	s.next = s.crashTime()
	end := s.start.Add(s.plan.length)
	for s.now.Before(end) || s.crashes < s.plan.crashes {
		if s.now.After(end.Add(s.plan.length)) {
			s.t.Fatalf("only %d of %d crashes in twice the time", s.crashes, s.plan.crashes)
		}
		if at := int(s.now.Sub(s.start) * time.Duration(len(s.plan.phases)) / s.plan.length); at != s.phase && at < len(s.plan.phases) && len(s.restarts) == 0 {
			s.enter(ctx, at)
		}
		s.arm()
		s.tick(ctx)
	}
	for s.disarm(); !s.down.IsZero() || s.ledger.behind(s.now.Add(-slack), false) != ""; {
		s.tick(ctx)
	}
	last := s.now.Add(-slack)
	s.ledger.close(last)
	for _, probe := range s.probes {
		before := probe.DeepCopy()
		probe.Spec.Policy.State = kubeproberv1.ProbeSuspended
		s.must(s.api.Patch(ctx, probe, client.MergeFrom(before)))
	}
	s.settle(ctx, last)
}

// tick lets one step of time pass.
func (s *soak) tick(ctx context.Context) {
	s.now = s.now.Add(step)
	for _, r := range s.replicas {
		s.must(r.tell(fmt.Sprintf(clockLine, s.now.UnixNano())))
	}
	s.reap()
	s.restart(ctx)
	s.must(s.cluster.act(ctx, s.now))
	s.wait()
}

// wait gives an agent that is behind time to come after.
func (s *soak) wait() {
	short, long := time.NewTimer(pace), time.NewTimer(hold)
	defer short.Stop()
	defer long.Stop()
	<-short.C
	for {
		ready := len(s.receivers()) > 0
		if len(s.replicas) == 0 {
			s.late = 0
			return
		}
		if slices.ContainsFunc(s.replicas, (*replica).hasEnded) {
			return
		}
		undone := "no agent is ready"
		if ready {
			undone = s.ledger.behind(s.now.Add(-slack), true)
		}
		if undone == "" {
			s.late = 0
			if !s.down.IsZero() {
				s.t.Logf("after %s: the agents are up to date, for the first time since %s", s.now.Sub(s.start), s.down.Sub(s.start))
				s.outages = append(s.outages, outage{s.down, s.now})
				s.down = time.Time{}
			}
			return
		}
		select {
		case <-s.ledger.changed:
			continue
		case <-long.C:
		}
		if s.late++; s.late > patience {
			s.must(fmt.Errorf("for %s: %s%s", patience*hold, undone, s.replicas[0].tail()))
		}
		return
	}
}

// enter stops the agents as Kubernetes does and starts those of a phase.
func (s *soak) enter(ctx context.Context, phase int) {
	s.phase = phase
	s.t.Logf("after %s: %d agents, with leader election: %t", s.now.Sub(s.start), s.plan.phases[phase].replicas, s.plan.phases[phase].elect)
	s.stop()
	s.restarts = nil
	for range s.plan.phases[phase].replicas {
		s.launch(ctx, "")
	}
	if s.down.IsZero() {
		s.down = s.now
	}
}

func (s *soak) launch(ctx context.Context, fuse string) {
	s.serial++
	r, err := s.site.startReplica(ctx, fmt.Sprintf("agent-%02d", s.serial), s.now, s.plan.phases[s.phase].elect, fuse)
	s.must(err)
	s.replicas = append(s.replicas, r)
}

func (s *soak) stop() {
	for _, r := range s.replicas {
		s.must(r.stop())
		if r.crashed() {
			s.crashes++
		}
	}
	s.replicas = nil
}

// receivers are the addresses of the agents that are ready.
func (s *soak) receivers() []string {
	var addresses []string
	for _, r := range s.replicas {
		if r.ready.Load() && !r.hasEnded() {
			addresses = append(addresses, r.reports)
		}
	}
	return addresses
}

// crashTime is when the next crash is planned.
func (s *soak) crashTime() time.Time {
	share := s.plan.length / time.Duration(s.plan.crashes+1)
	return s.start.Add(time.Duration(s.crashes)*share + share/2 + time.Duration(s.rng.Int64N(int64(share))))
}

// arm tells one of the agents to crash at one of its next requests, when it is time.
func (s *soak) arm() {
	armed := slices.ContainsFunc(s.replicas, func(r *replica) bool { return r.armed })
	if armed || s.crashes >= s.plan.crashes || s.now.Before(s.next) || len(s.receivers()) == 0 {
		return
	}
	victim := s.replicas[s.rng.IntN(len(s.replicas))]
	victim.armed = true
	s.must(victim.tell(s.fuse()))
}

// fuse draws a request and how it is cut. One who does not lead makes few requests.
func (s *soak) fuse() string {
	requests := 40
	if s.plan.phases[s.phase].elect {
		requests = 6
	}
	return fmt.Sprintf(fuseLine, 1+s.rng.IntN(requests), []string{beforeRequest, afterRequest}[s.rng.IntN(2)])
}

// disarm replaces what might crash: it is time to settle.
func (s *soak) disarm() {
	for _, r := range s.replicas {
		if r.armed {
			s.must(r.command.Process.Kill())
		}
	}
}

// reap counts the agents that have crashed, and plans when they come back.
func (s *soak) reap() {
	s.replicas = slices.DeleteFunc(s.replicas, func(r *replica) bool {
		if !r.hasEnded() {
			return false
		}
		if !r.armed || !r.crashed() {
			s.must(fmt.Errorf("agent %s has ended by itself: %w%s", r.name, r.err, r.tail()))
		}
		s.crashes++
		s.next = s.crashTime()
		away := s.away()
		s.t.Logf("after %s: agent %s has crashed, ready: %t; back in %s", s.now.Sub(s.start), r.name, r.ready.Load(), away)
		s.restarts = append(s.restarts, s.now.Add(away))
		if s.down.IsZero() {
			s.down = s.now.Add(-step)
		}
		return true
	})
}

// away draws how long a crashed agent is away: half of the time it comes back at once. One crash in ten is long enough to miss
// runs.
func (s *soak) away() time.Duration {
	switch {
	case s.crashes%10 == 1:
		return time.Minute + time.Duration(s.rng.IntN(s.plan.away-60))*time.Second
	case s.rng.IntN(2) == 0:
		return time.Duration(1+s.rng.IntN(8)) * time.Second
	default:
		return 0
	}
}

// restart starts the agents whose time has come. One in four crashes again while it starts.
func (s *soak) restart(ctx context.Context) {
	s.restarts = slices.DeleteFunc(s.restarts, func(at time.Time) bool {
		if s.now.Before(at) {
			return false
		}
		fuse := ""
		if s.crashes < s.plan.crashes && s.rng.IntN(4) == 0 {
			fuse = fmt.Sprintf(fuseLine, 1+s.rng.IntN(30), beforeRequest)
		}
		s.launch(ctx, fuse)
		return true
	})
}

// settle lets the runs under way end, stops the agents, and compares. Runs that were due later than last need not have started.
func (s *soak) settle(ctx context.Context, last time.Time) {
	deadline := time.Now().Add(settleTimeout)
	for s.crowd(ctx) != "" {
		if time.Now().After(deadline) {
			s.must(fmt.Errorf("%s after: %s%s", settleTimeout, s.crowd(ctx), s.replicas[0].tail()))
		}
		s.tick(ctx)
	}
	s.stop()
	var faults []string
	s.counts, faults = s.ledger.settle(last, s.outages)
	if crowd := s.crowd(ctx); crowd != "" {
		faults = append(faults, crowd)
	}
	for _, fault := range faults {
		s.t.Error(fault)
	}
	if s.crashes < s.plan.crashes {
		s.t.Errorf("%d crashes, fewer than %d", s.crashes, s.plan.crashes)
	}
}

// crowd tells of a run that has not ended, or of what is left beyond the policy; empty when all is well.
func (s *soak) crowd(ctx context.Context) string {
	jobs, pods := &batchv1.JobList{}, &corev1.PodList{}
	s.must(s.api.List(ctx, jobs, client.InNamespace(s.site.namespace)))
	s.must(s.api.List(ctx, pods, client.InNamespace(s.site.namespace)))
	s.jobsLeft, s.podsLeft = len(jobs.Items), len(pods.Items)
	succeeded, failed := map[string]int{}, map[string]int{}
	there := map[string]bool{}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		there[job.Name] = true
		probe := job.Labels[kubeproberv1.ProbeLabel]
		finished, well := run.JobFinished(job)
		switch {
		case !finished:
			return fmt.Sprintf("Job %s has not ended", job.Name)
		case well:
			succeeded[probe]++
		default:
			failed[probe]++
		}
		if succeeded[probe] > keepSucceeded || failed[probe] > keepFailed {
			return fmt.Sprintf("probe %s has %d succeeded and %d failed Jobs left", probe, succeeded[probe], failed[probe])
		}
	}
	for i := range pods.Items {
		if owner := metav1.GetControllerOf(&pods.Items[i]); owner == nil || !there[owner.Name] {
			return fmt.Sprintf("pod %s is left without its Job", pods.Items[i].Name)
		}
	}
	return s.ledger.behind(s.start, false)
}

// print writes what was counted.
func (s *soak) print() {
	var text strings.Builder
	for _, line := range []struct {
		name  string
		value any
	}{
		{"seed", s.seed},
		{"probes", s.plan.probes},
		{"minutes", fmt.Sprintf("%.1f", s.now.Sub(s.start).Minutes())},
		{"crashes", s.crashes},
		{"due", s.counts.due},
		{"started", s.counts.started},
		{"recorded", s.counts.recorded},
		{"folded-into-later-while-down", s.counts.folded},
		{"doubled", s.counts.doubled},
		{"missing", s.counts.missing},
		{"left-out-while-up", s.counts.unexplained},
		{"results-acknowledged", s.counts.told},
		{"results-lost", s.counts.lost},
		{"jobs-left", s.jobsLeft},
		{"pods-left", s.podsLeft},
	} {
		fmt.Fprintf(&text, "SOAK %s %v\n", line.name, line.value)
	}
	fmt.Fprint(s.t.Output(), text.String())
}
