// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

var (
	errQueueFull = errors.New("too many connects wait to be taken")
	errQueueTime = errors.New("the connect has waited too long to be taken")
)

// turns lets connects whose secret is right be bound a few at a time. All agents of a site
// come from one address when their hub comes back, so the others wait instead of being
// refused: in the order of their arrival among those of their address, and the addresses
// take turns, so that a large site does not hold up a small one.
type turns struct {
	limit, perAddress, queue int
	longest                  time.Duration
	stopped                  chan struct{}
	stop                     func()

	mu      sync.Mutex
	inside  int
	waiting int
	lines   map[netip.Prefix]*line // of the addresses that have a connect inside or waiting
	next    []*line                // those with a connect that waits and room for it
}

// line is the connects of one address.
type line struct {
	address netip.Prefix
	inside  int
	waiting list.List // of chan struct{}, closed when the turn has come
	isNext  bool      // it is in turns.next
}

func newTurns(l Limits) *turns {
	stopped := make(chan struct{})
	return &turns{
		limit:      l.Binds,
		perAddress: l.BindsPerAddress,
		queue:      l.Waiting,
		longest:    l.WaitTimeout,
		stopped:    stopped,
		stop:       sync.OnceFunc(func() { close(stopped) }),
		lines:      map[netip.Prefix]*line{},
	}
}

// enter returns when it is the turn of a connect from remoteAddr, with the way out. Its
// errors are errQueueFull at once, errQueueTime, errShuttingDown after stop, and that of ctx.
func (q *turns) enter(ctx context.Context, remoteAddr string) (leave func(), err error) {
	l, place, err := q.join(source(remoteAddr))
	if err != nil {
		return nil, err
	}
	leave = sync.OnceFunc(func() { q.leave(l) })
	granted, _ := place.Value.(chan struct{}) // the list holds nothing else
	timer := time.NewTimer(q.longest)
	defer timer.Stop()
	select {
	case <-granted:
		return leave, nil
	case <-timer.C:
		err = errQueueTime
	case <-q.stopped:
		err = errShuttingDown
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !q.giveUp(l, place, granted) {
		leave() // its turn came in the same moment
	}
	return nil, err
}

// join puts a connect at the end of its line.
func (q *turns) join(address netip.Prefix) (*line, *list.Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[address]
	if l == nil {
		l = &line{address: address}
	}
	mayGo := q.inside < q.limit && l.inside < q.perAddress
	if !mayGo && q.waiting >= q.queue {
		return nil, nil, errQueueFull
	}
	q.lines[address] = l
	place := l.waiting.PushBack(make(chan struct{}))
	q.waiting++
	q.enqueue(l)
	q.grant()
	return l, place, nil
}

// giveUp takes a connect out of its line. It returns false when its turn has come.
func (q *turns) giveUp(l *line, place *list.Element, granted <-chan struct{}) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-granted:
		return false
	default:
	}
	l.waiting.Remove(place)
	q.waiting--
	q.forget(l)
	return true
}

func (q *turns) leave(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inside--
	l.inside--
	q.enqueue(l)
	q.grant()
	q.forget(l)
}

// enqueue makes l one of the next, if it has a connect that may go.
func (q *turns) enqueue(l *line) {
	if !l.isNext && l.waiting.Len() > 0 && l.inside < q.perAddress {
		l.isNext = true
		q.next = append(q.next, l)
	}
}

// grant gives turns while there are any.
func (q *turns) grant() {
	for q.inside < q.limit && len(q.next) > 0 {
		l := q.next[0]
		q.next[0] = nil
		q.next = q.next[1:]
		l.isNext = false
		first := l.waiting.Front()
		if first == nil { // it gave up
			q.forget(l)
			continue
		}
		granted, _ := l.waiting.Remove(first).(chan struct{})
		close(granted)
		q.waiting--
		q.inside++
		l.inside++
		q.enqueue(l)
	}
}

// forget drops a line that is of no use any more.
func (q *turns) forget(l *line) {
	if l.inside == 0 && l.waiting.Len() == 0 && !l.isNext {
		delete(q.lines, l.address)
	}
}

func (q *turns) waitingNow() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// source returns what connections are counted by: an IPv4 address, or the /64 of an IPv6
// address, of which one host may have all. What is no address counts as one.
func source(remoteAddr string) netip.Prefix {
	remote, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	address := remote.Addr().Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
