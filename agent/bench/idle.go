// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const (
	mebibyte = 1 << 20
	// maxAuditLine bounds an entry of the audit log, in bytes.
	maxAuditLine = 1 << 20
)

// measureIdle lets the agent be, counts what it asks of its API server, and reads its memory at the end.
func (r *rig) measureIdle(ctx context.Context) error {
	if err := pause(ctx, r.config.settle); err != nil {
		return err
	}
	begin := time.Now()
	if err := pause(ctx, r.config.idle); err != nil {
		return err
	}
	end := time.Now()
	resident, err := r.agent.memory("VmRSS")
	if err != nil {
		return err
	}
	own, err := r.agent.memory("RssAnon")
	if err != nil {
		return err
	}
	peak, err := r.agent.memory("VmHWM")
	if err != nil {
		return err
	}
	requests, err := r.managed.requestsOf("probe-agent", begin, end)
	if err != nil {
		return err
	}
	total := 0
	fmt.Fprintf(r.out, "Requests of an idle agent in %s:\n", end.Sub(begin).Round(time.Second))
	for _, kind := range slices.SortedFunc(maps.Keys(requests), func(a, b string) int {
		return cmp.Or(requests[b]-requests[a], strings.Compare(a, b))
	}) {
		fmt.Fprintf(r.out, "  %4d  %s\n", requests[kind], kind)
		total += requests[kind]
	}
	fmt.Fprintf(r.out, "Resident memory: %.1f MiB, of which %.1f MiB are its own and the rest is the program's file; at most %.1f MiB so far\n",
		resident/mebibyte, own/mebibyte, peak/mebibyte)
	r.figure("rss-mb-200-probes", resident/mebibyte)
	r.figure("idle-api-requests-per-second", float64(total)/end.Sub(begin).Seconds())
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// requestsOf counts the requests that a service account has made in a time, by verb and resource. A watch counts when it begins.
func (p *plane) requestsOf(account string, begin, end time.Time) (map[string]int, error) {
	file, err := os.Open(p.audit)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	user := fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account)
	counts := map[string]int{}
	known := false
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxAuditLine)
	for lines.Scan() {
		event := &auditv1.Event{}
		if err := json.Unmarshal(lines.Bytes(), event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if event.User.Username != user {
			continue
		}
		known = true
		if at := event.RequestReceivedTimestamp.Time; at.Before(begin) || at.After(end) {
			continue
		}
		kind := event.Verb + " " + event.RequestURI
		if o := event.ObjectRef; o != nil {
			kind = strings.TrimSuffix(event.Verb+" "+strings.TrimSuffix(o.Resource+"."+o.APIGroup, ".")+"/"+o.Subresource, "/")
		}
		counts[kind]++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	if !known {
		return nil, fmt.Errorf("the audit log of the %s knows nothing of %s", p.name, user)
	}
	return counts, nil
}
