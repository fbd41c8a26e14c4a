// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

var now = time.Unix(10000, 0)

// scrape returns all series as `name{label="value",…}`, without the prefix of the product.
func scrape(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, l := range metric.GetLabel() {
				if l.GetValue() != "" {
					labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				}
			}
			name := strings.TrimPrefix(family.GetName(), "kubeprober_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case metric.GetHistogram() != nil:
				series[name] = metric.GetHistogram().GetSampleSum()
			case metric.GetCounter() != nil:
				series[name] = metric.GetCounter().GetValue()
			default:
				series[name] = metric.GetGauge().GetValue()
			}
		}
	}
	return series
}

func expect(t *testing.T, m *Metrics, want map[string]float64) {
	t.Helper()
	if got := scrape(t, m); !maps.Equal(got, want) {
		for _, name := range slices.Sorted(maps.Keys(got)) {
			t.Errorf("got %s %v", name, got[name])
		}
		t.Errorf("want %v", want)
	}
}

// newTestMetrics makes metrics of a cache that holds objects.
func newTestMetrics(t *testing.T, objects ...client.Object) (*Metrics, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return New(c, "kubeprober", clocktesting.NewFakePassiveClock(now)), c
}

func probe(name string) *kubeproberv1.Probe {
	return &kubeproberv1.Probe{ObjectMeta: metav1.ObjectMeta{Namespace: "kubeprober", Name: name}}
}

func status(name string, checkers ...kubeproberv1.CheckerResult) *kubeproberv1.ProbeStatus {
	return &kubeproberv1.ProbeStatus{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kubeprober", Name: name}, Status: kubeproberv1.ProbeOutcome{Checkers: checkers},
	}
}

func ago(d time.Duration) *metav1.Time {
	at := metav1.NewTime(now.Add(-d))
	return &at
}

func TestCheckersAreToldAsTheAPIHasThem(t *testing.T) {
	foreign := status("k8s", kubeproberv1.CheckerResult{Name: "other", Status: "ERROR"})
	foreign.Namespace = "other"
	m, c := newTestMetrics(t, probe("k8s"), foreign, status("gone", kubeproberv1.CheckerResult{Name: "a", Status: "ERROR"}),
		status("k8s",
			kubeproberv1.CheckerResult{Name: "dns", Status: "PASS", LastPass: ago(30 * time.Second)},
			kubeproberv1.CheckerResult{Name: "info", Status: "INFO", LastPass: ago(time.Minute)},
			kubeproberv1.CheckerResult{Name: "never", Status: "UNKNOWN"},
			kubeproberv1.CheckerResult{Name: "disk", Node: "n1", Status: "WARN", LastPass: ago(time.Hour)},
			kubeproberv1.CheckerResult{Name: "disk", Node: "n2", Status: "ERROR", LastPass: ago(-time.Hour)},
			// Somebody has edited the list.
			kubeproberv1.CheckerResult{Name: "dns", Status: "ERROR"},
		))
	expect(t, m, map[string]float64{
		`checker_status{checker="dns",probe="k8s"}`: 0, `seconds_since_last_pass{checker="dns",probe="k8s"}`: 30,
		`checker_status{checker="info",probe="k8s"}`: 1, `seconds_since_last_pass{checker="info",probe="k8s"}`: 60,
		`checker_status{checker="never",probe="k8s"}`:          2,
		`checker_status{checker="disk",node="n1",probe="k8s"}`: 3, `seconds_since_last_pass{checker="disk",node="n1",probe="k8s"}`: 3600,
		`checker_status{checker="disk",node="n2",probe="k8s"}`: 4, `seconds_since_last_pass{checker="disk",node="n2",probe="k8s"}`: 0,
		`scheduler_lag_seconds{}`: 0,
	})

	changed := &kubeproberv1.ProbeStatus{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "kubeprober", Name: "k8s"}, changed); err != nil {
		t.Fatal(err)
	}
	changed.Status.Checkers = []kubeproberv1.CheckerResult{{Name: "dns", Status: "ERROR"}}
	if err := c.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	expect(t, m, map[string]float64{`checker_status{checker="dns",probe="k8s"}`: 4, `scheduler_lag_seconds{}`: 0})
}

func TestRunsAreCountedByOutcomeAndForgottenWithTheirProbe(t *testing.T) {
	k8s := probe("k8s")
	m, c := newTestMetrics(t, k8s, probe("host"))
	ended := func(status kubeproberv1.CheckerStatus, reason string, took time.Duration) *kubeproberv1.RunRecord {
		return &kubeproberv1.RunRecord{RunID: "secret", Status: status, Reason: reason, Duration: &metav1.Duration{Duration: took}}
	}
	m.RunEnded("k8s", ended("PASS", "", 2*time.Second))
	m.RunEnded("k8s", ended("PASS", "", 3*time.Second))
	// Some of its checkers have reported, and it could not judge all.
	m.RunEnded("k8s", ended("ERROR", "OOMKilled", time.Second))
	m.RunEnded("k8s", ended("UNKNOWN", "ElevationRefused", 0))
	m.RunEnded("host", ended("UNKNOWN", "", time.Second))
	m.RunStarted(1500 * time.Millisecond)
	m.RunStarted(-time.Second)
	want := map[string]float64{
		`runs_total{outcome="PASS",probe="k8s"}`: 2, `runs_total{outcome="ERROR",probe="k8s"}`: 1,
		`runs_total{outcome="ElevationRefused",probe="k8s"}`: 1, `runs_total{outcome="UNKNOWN",probe="host"}`: 1,
		`run_duration_seconds{probe="k8s"}`: 6, `run_duration_seconds{probe="host"}`: 1, `scheduler_lag_seconds{}`: 1.5,
	}
	expect(t, m, want)

	if err := c.Delete(t.Context(), k8s); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.Contains(series, "k8s") })
	expect(t, m, want)
}

func TestReportsAreCountedByTheCodeOfTheAnswer(t *testing.T) {
	m, _ := newTestMetrics(t)
	codes := []int{http.StatusOK, http.StatusOK, http.StatusGone}
	for _, code := range codes {
		handler := m.CountReports(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "answer")
		}))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/probe-status/secret", nil))
	}
	expect(t, m, map[string]float64{
		`report_requests_total{code="200"}`: 2, `report_requests_total{code="410"}`: 1, `scheduler_lag_seconds{}`: 0,
	})
}

// unfilled is a cache that cannot be read.
type unfilled struct{ client.Reader }

func (unfilled) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the cache is not filled")
}

func TestWhatCannotBeReadIsAnErrorAndNotAnEmptyAnswer(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(New(unfilled{}, "kubeprober", clocktesting.NewFakePassiveClock(now))); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "the cache is not filled") {
		t.Errorf("got error %v", err)
	}
}
