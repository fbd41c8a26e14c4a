// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeprober/kubeprober/tunnel/internal/link"
	"github.com/kubeprober/kubeprober/tunnel/internal/window"
)

// The reasons by which refusals are counted.
const (
	refusedSecret   = "secret"
	refusedHeader   = "header"
	refusedUpgrade  = "not_websocket"
	refusedIdentity = "identity"
	refusedBinder   = "binder_unavailable"
	refusedQueue    = "waiting_connects"
	refusedWait     = "waited_too_long"
	refusedStopping = "stopping"
	refusedStreams  = "streams_per_tunnel"
	refusedByAgent  = "agent"
	refusedBuffered = "buffered_bytes"

	refusedPending           = "unauthenticated"
	refusedPendingPerAddress = "unauthenticated_per_address"
)

const metricPrefix = "kubeprober_tunnel_"

// metrics counts what happens. It is the hub's own: the caller registers it where he
// likes.
type metrics struct {
	connects    prometheus.Counter
	disconnects *prometheus.CounterVec
	refused     *prometheus.CounterVec
	dials       *prometheus.HistogramVec
	totals      link.Totals
}

func newMetrics() *metrics {
	return &metrics{
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricPrefix + "connects_total", Help: "Tunnels that were opened.",
		}),
		disconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "disconnects_total", Help: "Tunnels that have ended, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "refused_total", Help: "Connects and streams that were refused, by reason.",
		}, []string{"reason"}),
		dials: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    metricPrefix + "dial_duration_seconds",
			Help:    "How long the opening of a stream took, by result.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"result"}),
	}
}

func (m *metrics) dialed(start time.Time, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.dials.WithLabelValues(result).Observe(time.Since(start).Seconds())
}

func (m *metrics) ended(cause error) {
	m.disconnects.WithLabelValues(disconnectReason(cause)).Inc()
}

var (
	errReplaced     = errors.New("replaced by a newer tunnel")
	errShuttingDown = errors.New("the hub is shutting down")
)

// disconnectedError is the end of a tunnel that the caller of the hub asked for.
type disconnectedError struct{ reason string }

func (e *disconnectedError) Error() string { return e.reason }

// disconnectReason names the class of cause, one of few.
func disconnectReason(cause error) string {
	var asked *disconnectedError
	switch {
	case errors.As(cause, &asked):
		return "disconnected"
	case errors.Is(cause, errReplaced):
		return "replaced"
	case errors.Is(cause, errShuttingDown):
		return "shutdown"
	case errors.Is(cause, errDrained):
		return "drained"
	case errors.Is(cause, link.ErrViolation):
		return "violation"
	case errors.Is(cause, link.ErrBacklog):
		return "backlog"
	case errors.Is(cause, os.ErrDeadlineExceeded), errors.Is(cause, syscall.ETIMEDOUT):
		return "silent"
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF),
		errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return "closed_by_agent"
	default:
		return "other"
	}
}

// Collector returns the hub's metrics, to be registered once. None has a cluster's name
// for a label: their number does not grow with the fleet.
func (h *Hub) Collector() prometheus.Collector { return collector{h} }

var (
	tunnelsDesc  = prometheus.NewDesc(metricPrefix+"tunnels", "Live tunnels.", nil, nil)
	clustersDesc = prometheus.NewDesc(metricPrefix+"clusters", "Clusters with a live tunnel.", nil, nil)
	streamsDesc  = prometheus.NewDesc(metricPrefix+"streams", "Open streams, idle ones too.", nil, nil)
	pendingDesc  = prometheus.NewDesc(metricPrefix+"unauthenticated_connections", "Connections that have not shown a request yet.", nil, nil)
	waitingDesc  = prometheus.NewDesc(metricPrefix+"waiting_connects", "Connects that wait to be bound.", nil, nil)
	heldDesc     = prometheus.NewDesc(metricPrefix+"buffered_bytes", "Bytes received on streams and not read yet.", nil, nil)
	bytesDesc    = prometheus.NewDesc(metricPrefix+"bytes_total", "Bytes of streams.", []string{"direction"}, nil)
	tripDesc     = prometheus.NewDesc(metricPrefix+"round_trip_seconds", "Round-trip times of the live tunnels as measured last.", nil, nil)
)

// roundTripBuckets are in seconds.
var roundTripBuckets = []float64{.001, .005, .01, .025, .05, .1, .2, .4, 1, 5}

type collector struct{ hub *Hub }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	m := c.hub.metrics
	for _, part := range []prometheus.Collector{m.connects, m.disconnects, m.refused, m.dials} {
		part.Describe(descs)
	}
	for _, desc := range []*prometheus.Desc{tunnelsDesc, clustersDesc, streamsDesc, heldDesc, pendingDesc, waitingDesc, bytesDesc, tripDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	m := c.hub.metrics
	for _, part := range []prometheus.Collector{m.connects, m.disconnects, m.refused, m.dials} {
		part.Collect(out)
	}
	tunnels := c.hub.registry.all()
	clusters := map[string]struct{}{}
	buckets := map[float64]uint64{}
	for _, bound := range roundTripBuckets {
		buckets[bound] = 0
	}
	var measured uint64
	var sum float64
	var streams, held int
	for _, t := range tunnels {
		state := t.state()
		clusters[state.Cluster] = struct{}{}
		streams += state.Streams
		held += state.BufferedBytes
		if seconds := state.RoundTrip.Seconds(); seconds > 0 {
			measured++
			sum += seconds
			for _, bound := range roundTripBuckets {
				if seconds <= bound {
					buckets[bound]++
				}
			}
		}
	}
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(tunnelsDesc, float64(len(tunnels)))
	gauge(clustersDesc, float64(len(clusters)))
	gauge(streamsDesc, float64(streams))
	gauge(heldDesc, float64(held))
	gauge(pendingDesc, float64(c.hub.gate.count()))
	gauge(waitingDesc, float64(c.hub.turns.waitingNow()))
	counter := func(value int64, direction string) {
		out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(value), direction)
	}
	counter(m.totals.Received.Load(), "received")
	counter(m.totals.Sent.Load(), "sent")
	out <- prometheus.MustNewConstHistogram(tripDesc, measured, sum, buckets)
}

// TunnelState is what is known of a live tunnel.
type TunnelState struct {
	Cluster       string        `json:"cluster"`
	RemoteAddr    string        `json:"remoteAddr"`
	AgentVersion  string        `json:"agentVersion,omitempty"`
	Since         time.Time     `json:"since"`
	Streams       int           `json:"streams"`
	Requests      int           `json:"requests"`
	BufferedBytes int           `json:"bufferedBytes"`
	ReceivedBytes int64         `json:"receivedBytes"`
	SentBytes     int64         `json:"sentBytes"`
	RoundTrip     time.Duration `json:"roundTripNanoseconds"` // 0 before the first measurement
	Draining      bool          `json:"draining,omitempty"`
}

func (t *tunnel) state() TunnelState {
	stats := t.link.Stats()
	t.mu.Lock()
	defer t.mu.Unlock()
	return TunnelState{
		Cluster:       t.id.Cluster,
		RemoteAddr:    t.id.RemoteAddr,
		AgentVersion:  t.id.AgentVersion,
		Since:         t.since,
		Streams:       len(t.streams),
		Requests:      t.requests,
		BufferedBytes: t.budget.Held(),
		ReceivedBytes: stats.Received.Load(),
		SentBytes:     stats.Sent.Load(),
		RoundTrip:     time.Duration(stats.RoundTrip.Load()),
		Draining:      t.draining,
	}
}

// Tunnels returns the live tunnels, by cluster and then by age.
func (h *Hub) Tunnels() []TunnelState {
	var states []TunnelState
	for _, t := range h.registry.all() {
		states = append(states, t.state())
	}
	slices.SortFunc(states, func(a, b TunnelState) int {
		if a.Cluster != b.Cluster {
			if a.Cluster < b.Cluster {
				return -1
			}
			return 1
		}
		return a.Since.Compare(b.Since)
	})
	return states
}

// DebugHandler answers GET with the live tunnels as JSON. It holds addresses and names, so
// the caller mounts it behind his authentication.
func (h *Hub) DebugHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is allowed", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(struct {
			Tunnels []TunnelState `json:"tunnels"`
		}{h.Tunnels()}); err != nil {
			h.opts.Log.V(1).Info("Sending the live tunnels failed", "reason", err.Error())
		}
	})
}

// streamFailed counts a stream that was reset for the budget's sake.
func (m *metrics) streamFailed(err error) {
	if errors.Is(err, window.ErrBudget) {
		m.refused.WithLabelValues(refusedBuffered).Inc()
	}
}
