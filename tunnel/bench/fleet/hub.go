// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/sample"
	"github.com/kubeprober/kubeprober/tunnel/bench/internal/site"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

const (
	// connectTime is how long the fleet may take to be complete.
	connectTime = 4 * time.Minute
	// requestTime is how long one request may take.
	requestTime = 30 * time.Second
	// stopTime is how long the hub may take to stop.
	stopTime = 30 * time.Second
)

// Figures of a process, and of requests.
const (
	figureRSS     = "rss-kb"
	figureCPU     = "cpu-seconds"
	figureHeap    = "heap-kb"
	figureStacks  = "stacks-kb"
	figureThreads = "goroutines"
	figureP50     = "p50-ms"
	figureP99     = "p99-ms"
)

// hubProcess is a hub and nothing else in its process.
type hubProcess struct {
	hub     *hub.Hub
	server  *site.Server
	profile *os.File
}

func (p *hubProcess) do(ctx context.Context, c command) (answer, error) {
	switch c.Do {
	case "listen":
		return p.listen(ctx, c)
	case "await":
		ctx, cancel := context.WithTimeoutCause(ctx, connectTime,
			fmt.Errorf("not %d clusters after %s", c.Count, connectTime))
		defer cancel()
		if err := site.AwaitClusters(ctx, p.hub, c.Count); err != nil {
			return answer{}, fmt.Errorf("%w, but %d", err, len(p.hub.Clusters()))
		}
		return answer{}, nil
	case "count":
		return answer{Figures: map[string]float64{"clusters": float64(len(p.hub.Clusters()))}}, nil
	case "usage":
		return usage()
	case "refusals":
		return p.refusals()
	case "get":
		return p.get(ctx, c.Count)
	case "heap":
		return answer{}, writeHeap(c.File)
	case "start-profile":
		return answer{}, p.startProfile(c.File)
	case "stop-profile":
		pprof.StopCPUProfile()
		return answer{}, p.profile.Close()
	}
	return answer{}, errors.New("no such command")
}

func (p *hubProcess) listen(ctx context.Context, c command) (answer, error) {
	config, err := c.Material.Server()
	if err != nil {
		return answer{}, err
	}
	if p.hub, err = site.NewHub(); err != nil {
		return answer{}, err
	}
	mux := http.NewServeMux()
	mux.Handle(site.ConnectPath, p.hub)
	guard := func(server *http.Server) { server.ConnState = p.hub.ConnState }
	if p.server, err = site.Serve(ctx, c.Address, mux, config, guard); err != nil {
		return answer{}, err
	}
	return answer{Address: p.server.Addr}, nil
}

func (p *hubProcess) close() error {
	if p.hub == nil || p.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	return errors.Join(p.hub.Shutdown(ctx), p.server.Close())
}

// refusals returns what the hub has refused, by its reason.
func (p *hubProcess) refusals() (answer, error) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(p.hub.Collector()); err != nil {
		return answer{}, err
	}
	families, err := registry.Gather()
	if err != nil {
		return answer{}, err
	}
	figures := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "kubeprober_tunnel_refused_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			figures[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return answer{Figures: figures}, nil
}

// get sends count requests through random tunnels, one after the other.
func (p *hubProcess) get(ctx context.Context, count int) (answer, error) {
	clusters := p.hub.Clusters()
	if len(clusters) == 0 {
		return answer{}, errors.New("no cluster is connected")
	}
	took := make([]float64, count)
	for i := range took {
		start := time.Now()
		if err := getOne(ctx, p.hub.RoundTripper(clusters[rand.N(len(clusters))])); err != nil {
			return answer{}, err
		}
		took[i] = float64(time.Since(start)) / float64(time.Millisecond)
	}
	return answer{Figures: map[string]float64{
		figureP50: sample.Quantile(took, 0.50),
		figureP99: sample.Quantile(took, 0.99),
	}}, nil
}

func getOne(ctx context.Context, transport http.RoundTripper) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cluster/", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && n != smallSize {
		err = fmt.Errorf("an answer of %d bytes, want %d", n, smallSize)
	}
	return err
}

// usage returns what this process takes. Nothing is collected for it.
func usage() (answer, error) {
	cpu, err := sample.ProcessorTime()
	if err != nil {
		return answer{}, err
	}
	rss, err := residentKB()
	if err != nil {
		return answer{}, err
	}
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	return answer{Figures: map[string]float64{
		figureCPU:     cpu.Seconds(),
		figureRSS:     rss,
		figureHeap:    float64(samples[0].Value.Uint64()) / 1024,
		figureStacks:  float64(samples[1].Value.Uint64()) / 1024,
		figureThreads: float64(runtime.NumGoroutine()),
	}}, nil
}

// residentKB returns the process's resident memory in KiB, as the kernel counts it.
func residentKB() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the process's memory, which needs Linux: %w", err)
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 64)
		}
	}
	return 0, errors.New("the kernel's status of the process has no VmRSS")
}

func writeHeap(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC() // what is live now
	return errors.Join(pprof.WriteHeapProfile(file), file.Close())
}

func (p *hubProcess) startProfile(path string) (err error) {
	if p.profile, err = os.Create(path); err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(p.profile); err != nil {
		return errors.Join(err, p.profile.Close())
	}
	return nil
}
