// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubeprober/kubeprober/tunnel/bench/internal/sample"
)

const (
	// bodies is how many large bodies a measurement moves.
	bodies = 8
	// farBodies is the same over the long path.
	farBodies = 4
	// serialGets is how many small GETs a latency is taken from.
	serialGets = 5000
	// warmGets is how many come first and do not count.
	warmGets = 500
	// stuckTurns is in how many turns these are taken beside a stuck download and without.
	stuckTurns = 5
	// clients is how many send small GETs at once, clientGets how many each.
	clients, clientGets = 32, 500
	// stillness is for how long a download must make no progress to be held to be stuck.
	stillness = 300 * time.Millisecond
)

// open sends a request and returns when its answer has begun.
func (v *variant) open(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, body) //nolint:gosec // The server is one of this process.
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = size
	}
	return v.http.Do(req) //nolint:gosec // The server is one of this process.
}

// send sends a request and returns when its answer has arrived in full.
func (v *variant) send(ctx context.Context, method, path string, body io.Reader, size int64) error {
	resp, err := v.open(ctx, method, path, body, size)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := drain(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s was answered %s", method, path, resp.Status)
	case method == http.MethodGet && n != size:
		return fmt.Errorf("%s %s gave %d bytes, want %d", method, path, n, size)
	}
	return nil
}

func (v *variant) download(ctx context.Context) error {
	return v.send(ctx, http.MethodGet, "/large", nil, bodySize)
}

func (v *variant) upload(ctx context.Context) error {
	return v.send(ctx, http.MethodPut, "/large", io.LimitReader(endless{}, bodySize), bodySize)
}

func (v *variant) get(ctx context.Context) error {
	return v.send(ctx, http.MethodGet, "/small", nil, smallSize)
}

// throughput returns the MB/s at which count bodies pass in so many streams at once.
func throughput(ctx context.Context, move func(context.Context) error, count, streams int) (float64, error) {
	took, err := parallel(ctx, move, count/streams, streams)
	return float64(count) * bodySize / 1e6 / took.Seconds(), err
}

// parallel calls do so many times in each of workers and returns how long that took.
func parallel(ctx context.Context, do func(context.Context) error, times, workers int) (time.Duration, error) {
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range workers {
		group.Go(func() error {
			for range times {
				if err := do(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(start), err
}

// latencies returns how long so many small GETs took, one after the other.
func latencies(ctx context.Context, v *variant, count int) ([]time.Duration, error) {
	took := make([]time.Duration, count)
	for i := range took {
		start := time.Now()
		if err := v.get(ctx); err != nil {
			return nil, err
		}
		took[i] = time.Since(start)
	}
	return took, nil
}

// latency returns p50 and p99 of small GETs in microseconds.
func latency(ctx context.Context, v *variant) (p50, p99 float64, err error) {
	if _, err := latencies(ctx, v, warmGets); err != nil {
		return 0, 0, err
	}
	took, err := latencies(ctx, v, serialGets)
	return micros(sample.Quantile(took, 0.50)), micros(sample.Quantile(took, 0.99)), err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// rate returns the small GETs a second that many clients get together.
func rate(ctx context.Context, v *variant) (float64, error) {
	took, err := parallel(ctx, v.get, clientGets, clients)
	return clients * clientGets / took.Seconds(), err
}

// besideStuck returns by how much the p99 of small GETs grows while a download on the same
// tunnel is not read. It takes turns, so that what disturbs the machine disturbs both.
func besideStuck(ctx context.Context, b *backend, v *variant) (float64, error) {
	var free, beside []time.Duration
	for range stuckTurns {
		took, err := latencies(ctx, v, serialGets/stuckTurns)
		if err != nil {
			return 0, err
		}
		free = append(free, took...)
		if took, err = stuckTurn(ctx, b, v); err != nil {
			return 0, err
		}
		beside = append(beside, took...)
	}
	return float64(sample.Quantile(beside, 0.99)) / float64(sample.Quantile(free, 0.99)), nil
}

// stuckTurn returns the latencies of one turn beside a download that is not read.
func stuckTurn(ctx context.Context, b *backend, v *variant) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := v.open(ctx, http.MethodGet, "/stuck", nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := b.awaitStill(ctx); err != nil {
		return nil, err
	}
	return latencies(ctx, v, serialGets/stuckTurns)
}

// awaitStill returns when the endless download makes no progress any more.
func (b *backend) awaitStill(ctx context.Context) error {
	ticker := time.NewTicker(stillness / 10)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			last := b.progress.Load()
			if last != 0 && time.Since(time.Unix(0, last)) > stillness {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for a download that is not read to get stuck: %w", context.Cause(ctx))
		}
	}
}
