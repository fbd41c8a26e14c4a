// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// registry knows the live tunnels by cluster name, and who wants to hear of them.
type registry struct {
	perCluster int

	mu          sync.Mutex
	closed      bool
	tunnels     map[string][]*tunnel // oldest first, never empty
	subscribers map[*subscriber]struct{}
	deliveries  sync.WaitGroup
}

func newRegistry(perCluster int) *registry {
	return &registry{
		perCluster:  perCluster,
		tunnels:     map[string][]*tunnel{},
		subscribers: map[*subscriber]struct{}{},
	}
}

// add makes t the newest tunnel of its cluster. It returns the tunnels that have to go
// for it: those of another identity (the name was bound anew) and those beyond the limit.
// ok is false when the registry is closed.
func (g *registry) add(t *tunnel) (replaced []*tunnel, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false
	}
	name := t.id.Cluster
	var kept []*tunnel
	for _, old := range g.tunnels[name] {
		if old.id.UID == t.id.UID {
			kept = append(kept, old)
		} else {
			replaced = append(replaced, old)
		}
	}
	for len(kept) >= g.perCluster {
		replaced = append(replaced, kept[0])
		kept = kept[1:]
	}
	wasConnected := len(g.tunnels[name]) > 0
	g.tunnels[name] = append(kept, t)
	if !wasConnected {
		g.publish(t, true, "Tunnel opened")
	}
	return replaced, true
}

// remove takes t out, if it is still in.
func (g *registry) remove(t *tunnel, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := t.id.Cluster
	i := slices.Index(g.tunnels[name], t)
	if i < 0 {
		return
	}
	// A copy: newest and all hand out the slice.
	left := slices.Concat(g.tunnels[name][:i], g.tunnels[name][i+1:])
	if len(left) > 0 {
		g.tunnels[name] = left
		return
	}
	delete(g.tunnels, name)
	g.publish(t, false, reason)
}

// newest returns the newest live tunnel of cluster, nil when there is none.
func (g *registry) newest(cluster string) *tunnel {
	g.mu.Lock()
	defer g.mu.Unlock()
	tunnels := g.tunnels[cluster]
	if len(tunnels) == 0 {
		return nil
	}
	return tunnels[len(tunnels)-1]
}

func (g *registry) of(cluster string) []*tunnel {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tunnels[cluster]
}

func (g *registry) clusters() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.tunnels))
}

func (g *registry) all() []*tunnel {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*tunnel
	for _, tunnels := range g.tunnels {
		all = append(all, tunnels...)
	}
	return all
}

// drain refuses further tunnels and returns the live ones.
func (g *registry) drain() []*tunnel {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	return g.all()
}

// close refuses further tunnels, ends the subscriptions and returns the live tunnels.
func (g *registry) close() []*tunnel {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for s := range g.subscribers {
		s.stop()
	}
	clear(g.subscribers)
	var all []*tunnel
	for _, tunnels := range g.tunnels {
		all = append(all, tunnels...)
	}
	return all
}

// publish tells all subscribers. The caller holds mu, which keeps events in order.
func (g *registry) publish(t *tunnel, connected bool, reason string) {
	event := Event{
		Cluster:    t.id.Cluster,
		Connected:  connected,
		Reason:     reason,
		Time:       time.Now(),
		RemoteAddr: t.id.RemoteAddr,
	}
	for s := range g.subscribers {
		s.offer(event)
	}
}

// subscribe starts a subscriber with the clusters that are connected now.
func (g *registry) subscribe(f func(Event)) (unsubscribe func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return func() {}
	}
	s := &subscriber{pending: map[string]Event{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	g.subscribers[s] = struct{}{}
	for name, tunnels := range g.tunnels {
		newest := tunnels[len(tunnels)-1]
		s.offer(Event{Cluster: name, Connected: true, Reason: "Tunnel is open", Time: newest.since, RemoteAddr: newest.id.RemoteAddr})
	}
	g.deliveries.Go(func() { s.deliver(f) })
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, ok := g.subscribers[s]; ok {
			delete(g.subscribers, s)
			s.stop()
		}
	}
}

// subscriber holds at most one undelivered event a cluster, the newest.
type subscriber struct {
	wake chan struct{}
	done chan struct{}

	mu      sync.Mutex
	pending map[string]Event
	order   []string
}

func (s *subscriber) offer(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pending[e.Cluster]; !ok {
		s.order = append(s.order, e.Cluster)
	}
	s.pending[e.Cluster] = e
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) next() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return Event{}, false
	}
	e := s.pending[s.order[0]]
	delete(s.pending, e.Cluster)
	s.order = s.order[1:]
	return e, true
}

func (s *subscriber) deliver(f func(Event)) {
	for {
		select {
		case <-s.done:
			return
		default:
		}
		if e, ok := s.next(); ok {
			f(e)
			continue
		}
		select {
		case <-s.done:
			return
		case <-s.wake:
		}
	}
}

func (s *subscriber) stop() { close(s.done) }
