// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// noticed is how soon both ends must notice that the way between them is cut.
const noticed = 20 * time.Second

func TestACutCableIsNoticedAtBothEnds(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("making network namespaces needs %s: %v", tool, err)
		}
	}
	const hubAddress = "10.77.1.2:8443"
	// A namespace between those of hub and agent: what it does not pass on is lost without
	// a trace in theirs.
	router := cast(t, "router", "", syscall.CLONE_NEWNET)
	hubEnd := cast(t, "hub", hubAddress, syscall.CLONE_NEWNET)
	agentEnd := cast(t, "agent", hubAddress, syscall.CLONE_NEWNET)
	router.within(t,
		fmt.Sprintf("link add to-hub type veth peer name eth0 netns %d", hubEnd.cmd.Process.Pid),
		fmt.Sprintf("link add to-agent type veth peer name eth0 netns %d", agentEnd.cmd.Process.Pid),
		"addr add 10.77.1.1/24 dev to-hub", "link set to-hub up",
		"addr add 10.77.2.1/24 dev to-agent", "link set to-agent up")
	hubEnd.within(t, "link set lo up", "addr add 10.77.1.2/24 dev eth0", "link set eth0 up", "route add default via 10.77.1.1")
	agentEnd.within(t, "link set lo up", "addr add 10.77.2.2/24 dev eth0", "link set eth0 up", "route add default via 10.77.2.1")
	forward := exec.CommandContext(t.Context(), "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", router.cmd.Process.Pid),
		"sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	if out, err := forward.CombinedOutput(); err != nil {
		t.Skipf("a namespace may not forward here: %v: %s", err, out)
	}
	hubEnd.begin(t)
	agentEnd.begin(t)
	clusters := []string{idleCluster, downCluster, upCluster}
	for _, cluster := range clusters {
		hubEnd.log.await(t, "hub has "+cluster)
		agentEnd.log.await(t, "agent has "+cluster)
	}
	hubEnd.log.await(t, "hub gets "+downCluster)
	agentEnd.log.await(t, "agent gets "+upCluster)

	cut := time.Now()
	router.within(t, "route add blackhole 10.77.1.2/32", "route add blackhole 10.77.2.2/32")
	var last time.Duration
	for _, cluster := range clusters {
		for end, who := range map[string]*actor{"hub": hubEnd, "agent": agentEnd} {
			lost := end + " lost " + cluster
			who.log.awaitFor(t, lost, 2*noticed)
			took := who.log.at(lost).Sub(cut)
			if took > noticed {
				t.Errorf("%s after %s", lost, took)
			}
			last = max(last, took)
		}
	}
	t.Logf("both ends noticed the cut of three tunnels within %s", last.Round(10*time.Millisecond))

	hubEnd.forget()
	agentEnd.forget()
	router.within(t, "route del blackhole 10.77.1.2/32", "route del blackhole 10.77.2.2/32")
	for _, cluster := range clusters {
		hubEnd.log.awaitFor(t, "hub has "+cluster, 2*noticed)
		agentEnd.log.awaitFor(t, "agent has "+cluster, 2*noticed)
	}
}
