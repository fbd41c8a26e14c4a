// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// names is a DNS server that knows one name.
type names struct {
	conn net.PacketConn
	done chan struct{}

	mu        sync.Mutex
	addresses []netip.Addr
	asked     int
}

func newNames(t *testing.T, addresses ...string) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn, done: make(chan struct{})}
	n.set(addresses...)
	go func() {
		defer close(n.done)
		n.serve(t)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-n.done
	})
	return n
}

func (n *names) set(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = nil
	for _, address := range addresses {
		n.addresses = append(n.addresses, netip.MustParseAddr(address))
	}
}

func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *names) serve(t *testing.T) {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if err := question.Unpack(buf[:size]); err != nil || len(question.Questions) != 1 {
			t.Errorf("a question of DNS: %v", err)
			continue
		}
		packed, err := n.answer(question).Pack()
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := n.conn.WriteTo(packed, from); err != nil {
			return
		}
	}
}

func (n *names) answer(question dnsmessage.Message) *dnsmessage.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	asked := question.Questions[0]
	reply := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: question.ID, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: question.Questions,
	}
	for _, address := range n.addresses {
		// A day: who remembers an answer goes wrong.
		header := dnsmessage.ResourceHeader{Name: asked.Name, Class: dnsmessage.ClassINET, TTL: 86400}
		switch {
		case asked.Type == dnsmessage.TypeA && address.Is4():
			header.Type = dnsmessage.TypeA
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case asked.Type == dnsmessage.TypeAAAA && address.Is6():
			header.Type = dnsmessage.TypeAAAA
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	return reply
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func TestAHubThatMovesIsFoundByItsName(t *testing.T) {
	t.Parallel()
	first := newSite(t, "127.0.0.2:0", hub.Limits{})
	dns := newNames(t, "127.0.0.2")
	opts := optionsFor("https://example.com:" + first.port())
	opts.Resolver = dns.resolver()
	log, _ := start(t, opts)
	first.await(t, true)
	first.stop()
	log.await(t, "Connecting to the hub failed") // at the old address
	before := dns.count()
	dns.set("127.0.0.3")
	second := newSite(t, "127.0.0.3:"+first.port(), hub.Limits{})
	second.await(t, true)
	if dns.count() <= before {
		t.Error("the name was not looked up again")
	}
}

func TestAllAddressesOfAHubAreTried(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		lives   string
		answers []string
	}{
		{"the last of several", "127.0.0.4", []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}},
		{"IPv4 when IPv6 does not answer", "127.0.0.4", []string{"::1", "127.0.0.4"}},
		{"IPv6 when IPv4 does not answer", "::1", []string{"127.0.0.2", "::1"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, net.JoinHostPort(tc.lives, "0"), hub.Limits{})
			opts := optionsFor("wss://example.com:" + s.port())
			opts.Resolver = newNames(t, tc.answers...).resolver()
			log, _ := start(t, opts)
			s.await(t, true)
			if strings.Contains(log.text(), "failed") {
				t.Errorf("not at once:\n%s", log.text())
			}
		})
	}
}

func TestAnIPv6AddressIsAHubsToo(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[::1]:0", hub.Limits{})
	start(t, optionsFor("wss://[::1]:"+s.port()))
	s.await(t, true)
}

func TestANameThatIsNotKnownIsLookedUpUntilItIs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "127.0.0.2:0", hub.Limits{})
	dns := newNames(t)
	opts := optionsFor("https://example.com:" + s.port())
	opts.Resolver = dns.resolver()
	log, _ := start(t, opts)
	log.await(t, "no such host")
	dns.set("127.0.0.2")
	s.await(t, true)
}
