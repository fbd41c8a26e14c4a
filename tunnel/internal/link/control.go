// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// drainNotice begins the payload of the ping by which a hub says that it will stop, and
// in how many milliseconds an agent should have come back. An agent that does not know it
// answers it as any ping.
const drainNotice = "kubeprober-drain/1 "

// maxDrain bounds the time that a hub may name.
const maxDrain = 10 * time.Minute

// NotifyDrain tells the agent that the hub will stop, and over which time the agents are
// to spread their return.
func (c *Conn) NotifyDrain(spread time.Duration) {
	spread = min(spread, maxDrain)
	c.postControl(opPing, []byte(drainNotice+strconv.FormatInt(spread.Milliseconds(), 10)))
	c.flushLater()
}

func (c *Conn) onNotice(body []byte) {
	text, ok := strings.CutPrefix(string(body), drainNotice)
	if !ok || c.onDrain == nil {
		return
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 || ms > maxDrain.Milliseconds() {
		return // a ping like any other
	}
	c.onDrain(time.Duration(ms) * time.Millisecond)
}

// onControl takes a control frame. At an agent the websocket library gets it too.
func (c *Conn) onControl(op byte, body []byte) {
	now := time.Now()
	switch {
	case op == opClose:
		return
	case c.role == Agent:
		if op == opPing {
			c.onNotice(body)
		}
		return
	case op == opPong:
		c.pings.answered(body, now, &c.stats)
		return
	}
	c.postControl(opPong, body)
	if ping := c.pings.next(now); ping != nil {
		c.postControl(opPing, ping)
	}
	c.flushLater()
}

// ended tells the stream of number id, if it is bound, that the far end has ended it.
func (c *Conn) ended(id int64) {
	if stream, ok := c.streams.Load(id); ok {
		if s, ok := stream.(*Stream); ok {
			s.sink.Ended()
		}
	}
}

// pings measures the round-trip time. It is the reader's alone.
type pings struct {
	last   time.Time
	number uint64
	open   bool
}

// next returns the payload of a ping if one is due.
func (p *pings) next(now time.Time) []byte {
	if now.Sub(p.last) < pingEvery {
		return nil
	}
	p.last, p.open = now, true
	p.number++
	return binary.BigEndian.AppendUint64(nil, p.number)
}

func (p *pings) answered(body []byte, now time.Time, stats *Stats) {
	if !p.open || len(body) != 8 || binary.BigEndian.Uint64(body) != p.number {
		return // an answer to nothing means nothing
	}
	p.open = false
	stats.RoundTrip.Store(int64(now.Sub(p.last)))
}
