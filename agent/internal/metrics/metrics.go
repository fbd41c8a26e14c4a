// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics tells Prometheus what checkers say and what the agent does. What checkers say is read from the cache when it is
// asked for, so it outlives the agent; what the agent does is counted. It knows nothing of HTTP servers and of who may read.
package metrics

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	namespace = "kubeprober"
	// readTimeout bounds the reading of the cache, which waits while it has not been filled.
	readTimeout = 5 * time.Second
)

// Metrics is a prometheus.Collector. Its methods may be called by any number of goroutines at once.
type Metrics struct {
	cache     client.Reader
	namespace string
	clock     clock.PassiveClock

	status   *prometheus.Desc
	lastPass *prometheus.Desc
	duration *prometheus.HistogramVec
	runs     *prometheus.CounterVec
	lag      prometheus.Histogram
	reports  *prometheus.CounterVec

	mu sync.Mutex
	// counted are the probes that have series in duration and runs.
	counted sets.Set[string]
}

// New makes the metrics of the Probes of a namespace, which the cache holds.
func New(cache client.Reader, probeNamespace string, c clock.PassiveClock) *Metrics {
	checker := []string{"probe", "checker", "node"}
	return &Metrics{
		cache: cache, namespace: probeNamespace, clock: c, counted: sets.New[string](),
		status: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "checker_status"),
			"What a checker said last, as published: 0 PASS, 1 INFO, 2 UNKNOWN, 3 WARN, 4 ERROR.", checker, nil),
		lastPass: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "seconds_since_last_pass"),
			"Time since a checker last said PASS or INFO; absent for one that never has.", checker, nil),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "run_duration_seconds", Help: "Time from the start to the end of scheduled runs.",
			Buckets: []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}, []string{"probe"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "runs_total",
			Help: "Scheduled runs that have ended, by their most severe verdict, or by the reason why they could not judge.",
		}, []string{"probe", "outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "scheduler_lag_seconds", Help: "Time from when scheduled runs were due until their Jobs were made.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800},
		}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "report_requests_total", Help: "Reports of checkers that were answered, by the code of the answer.",
		}, []string{"code"}),
	}
}

// RunStarted counts a scheduled run whose Jobs were made so long after it was due.
func (m *Metrics) RunStarted(lag time.Duration) { m.lag.Observe(max(lag, 0).Seconds()) }

// RunEnded counts a scheduled run whose end was recorded.
func (m *Metrics) RunEnded(probe string, run *kubeproberv1.RunRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counted.Insert(probe)
	m.runs.WithLabelValues(probe, outcome(run)).Inc()
	// One that was never started took no time.
	if run.Duration != nil && run.Duration.Duration > 0 {
		m.duration.WithLabelValues(probe).Observe(run.Duration.Seconds())
	}
}

// outcome is from a fixed list: the verdicts, and the reasons of package run.
func outcome(run *kubeproberv1.RunRecord) string {
	if run.Status == kubeproberv1.CheckerUnknown && run.Reason != "" {
		return run.Reason
	}
	return string(run.Status)
}

// CountReports counts the answers of a handler by their code.
func (m *Metrics) CountReports(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerCounter(m.reports, next)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- m.status
	descriptions <- m.lastPass
	for _, c := range m.counters() {
		c.Describe(descriptions)
	}
}

func (m *Metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.runs, m.lag, m.reports}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(found chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	if err := m.collectCheckers(ctx, found); err != nil {
		found <- prometheus.NewInvalidMetric(m.status, err)
	}
	for _, c := range m.counters() {
		c.Collect(found)
	}
}

// collectCheckers tells what the checkers of all Probes say, and forgets the Probes that are gone.
func (m *Metrics) collectCheckers(ctx context.Context, found chan<- prometheus.Metric) error {
	probes, statuses := &kubeproberv1.ProbeList{}, &kubeproberv1.ProbeStatusList{}
	// The objects are those of the cache, and only read.
	for _, list := range []client.ObjectList{probes, statuses} {
		if err := m.cache.List(ctx, list, client.InNamespace(m.namespace), client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("reading results from the cache: %w", err)
		}
	}
	present := sets.New[string]()
	for i := range probes.Items {
		present.Insert(probes.Items[i].Name)
	}
	m.forgetOthers(present)
	now := m.clock.Now()
	for i := range statuses.Items {
		if status := &statuses.Items[i]; present.Has(status.Name) {
			m.collectStatus(status, now, found)
		}
	}
	return nil
}

func (m *Metrics) collectStatus(status *kubeproberv1.ProbeStatus, now time.Time, found chan<- prometheus.Metric) {
	// Two series of the same labels would spoil the whole answer, and a person may have edited the list.
	type identity struct{ name, node string }
	told := make(sets.Set[identity], len(status.Status.Checkers))
	for i := range status.Status.Checkers {
		c := &status.Status.Checkers[i]
		if told.Has(identity{c.Name, c.Node}) {
			continue
		}
		told.Insert(identity{c.Name, c.Node})
		found <- gauge(m.status, float64(c.Status.Severity()), status.Name, c.Name, c.Node)
		if c.LastPass != nil {
			found <- gauge(m.lastPass, max(now.Sub(c.LastPass.Time), 0).Seconds(), status.Name, c.Name, c.Node)
		}
	}
}

func gauge(description *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	metric, err := prometheus.NewConstMetric(description, prometheus.GaugeValue, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(description, err)
	}
	return metric
}

func (m *Metrics) forgetOthers(present sets.Set[string]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for probe := range m.counted.Difference(present) {
		m.counted.Delete(probe)
		m.runs.DeletePartialMatch(prometheus.Labels{"probe": probe})
		m.duration.DeleteLabelValues(probe)
	}
}
