// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/kubeprober/kubeprober/tunnel/internal/backoff"
)

// route is the way to one hub.
type route struct {
	*Agent
	url  string
	pins []pin
}

// outcome is how a session ended.
type outcome struct {
	lasted time.Duration // 0 when there was none
	err    error
	slept  bool // the machine did, meanwhile
}

// keepConnected keeps a tunnel to the hub up until ctx ends. When the hub says that it
// will stop, the next tunnel is opened beside the one that it still serves.
func (a *route) keepConnected(ctx context.Context, listener *listener) {
	if isExposed(a.url) {
		a.opts.Log.Info("The tunnel is not encrypted and its hub is not verified: use an https address outside the cluster's own network", "hub", a.url)
	}
	var waits backoff.Backoff
	former := make(chan outcome) // how the session ended that its hub drained
	close(former)
	for ctx.Err() == nil {
		woken, start := a.wakes.wait(), time.Now()
		drained := make(chan time.Duration, 1)
		ended := make(chan outcome, 1)
		go func() {
			lasted, err := a.session(ctx, listener, drained)
			ended <- outcome{lasted, err, isClosed(woken)}
		}()
		var o outcome
		var spread time.Duration
		told := true
		select {
		case spread = <-drained:
		case o = <-ended:
			if told = len(drained) > 0; told {
				spread = <-drained
			}
			ended <- o
		}
		if !told {
			if ctx.Err() == nil {
				a.pause(ctx, &waits, o)
			}
			continue
		}
		<-former // there are never more than two
		former = ended
		if time.Since(start) >= healthyTime {
			waits.Reset()
		}
		delay := rand.N(spread+1) + waits.Next()
		a.opts.Log.Info("The hub is going to stop, connecting anew", "hub", a.url, "in", delay.Round(time.Millisecond).String())
		backoff.Sleep(ctx, delay)
	}
	<-former
}

// pause waits before the attempt after a session that ended with o. A machine that wakes
// does not wait for what it meant to wait for before it slept.
func (a *route) pause(ctx context.Context, waits *backoff.Backoff, o outcome) {
	woken := a.wakes.wait()
	delay := o.delay(waits)
	a.report(o.err, o.lasted, delay)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-woken:
		waits.Reset()
		backoff.Sleep(ctx, waits.Next())
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// isExposed tells whether a tunnel to the hub at address can be read on its way: it is not
// encrypted, and leaves the cluster's own network, in which Services have their names.
func isExposed(address string) bool {
	hub, err := url.Parse(address)
	if err != nil || hub.Scheme != "ws" {
		return false
	}
	host := hub.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsLoopback()
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	// SERVICE, localhost among them, or SERVICE.NAMESPACE.svc with or without the cluster's domain.
	return len(labels) != 1 && (len(labels) < 3 || labels[2] != "svc")
}

// delay returns how long to wait after o.
func (o outcome) delay(waits *backoff.Backoff) time.Duration {
	if o.lasted >= healthyTime || o.slept {
		waits.Reset()
	}
	delay := waits.Next()
	var refused *refusedError
	if !errors.As(o.err, &refused) {
		return delay
	}
	if refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden {
		// Only a person can change that.
		return backoff.Longest/2 + rand.N(backoff.Longest/2)
	}
	return delay + refused.retryAfter
}

func (a *route) report(err error, lasted, delay time.Duration) {
	log := a.opts.Log.WithValues("hub", a.url, "retryIn", delay.Round(time.Millisecond).String())
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		log.Error(err, "The hub refused the tunnel", "status", refused.status)
	case lasted > 0:
		log.Info("Tunnel lost", "lasted", lasted.Round(time.Millisecond).String(), "reason", err.Error())
	default:
		log.Error(err, "Connecting to the hub failed")
	}
}
