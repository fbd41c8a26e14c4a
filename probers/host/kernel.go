// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kubeprober/kubeprober/probers/checker"
)

// checkMemory judges the memory that is not available for new programs without swapping.
func (h *Host) checkMemory() (string, error) {
	data, err := h.read("/proc/meminfo")
	if err != nil {
		return "", err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) == 2 && fields[1] == "kB" {
			if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
				values[name] = n * 1024
			}
		}
	}
	total := values["MemTotal"]
	available, ok := values["MemAvailable"]
	if !ok || total == 0 || available > total {
		return "", checker.NotChecked("/proc/meminfo of the node has no usable MemTotal and MemAvailable")
	}
	u := usage{used: total - available, total: total}
	text := fmt.Sprintf("%.0f %% of %s memory used, %s available", u.percent(), bytesText(total), bytesText(available))
	return text, h.limits.memory.judge(u.percent(), text)
}

// checkLoad judges the load of the last five minutes per CPU.
func (h *Host) checkLoad() (string, error) {
	data, err := h.read("/proc/loadavg")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 3 {
		return "", checker.NotChecked("/proc/loadavg of the node is %q", string(data))
	}
	load, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return "", fmt.Errorf("reading /proc/loadavg of the node: %w", err)
	}
	stat, err := h.read("/proc/stat")
	if err != nil {
		return "", err
	}
	cpus := 0
	for line := range strings.Lines(string(stat)) {
		if rest, ok := strings.CutPrefix(line, "cpu"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			cpus++
		}
	}
	if cpus == 0 {
		return "", checker.NotChecked("/proc/stat of the node names no CPU")
	}
	perCPU := load / float64(cpus)
	text := fmt.Sprintf("load of five minutes is %.2f on %d CPUs, %.2f each", load, cpus, perCPU)
	return text, h.limits.load.judge(perCPU, text)
}

// checkConntrack judges how full the table of tracked connections is; a full one drops new connections.
func (h *Host) checkConntrack() (string, error) {
	// /proc/sys/net shows the network of whoever reads it: the pod must use the node's.
	count, err := h.number("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, fs.ErrNotExist) {
		return "the node does not track connections", nil
	}
	if err != nil {
		return "", err
	}
	most, err := h.number("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return "", err
	}
	if most == 0 {
		return "the table of tracked connections has no limit", nil
	}
	u := usage{used: count, total: most}
	text := fmt.Sprintf("%d of %d tracked connections used (%.0f %%)", count, most, u.percent())
	return text, h.limits.conntrack.judge(u.percent(), text)
}

// checkZombies counts processes that have ended and that their parents do not fetch.
func (h *Host) checkZombies(ctx context.Context) (string, error) {
	dir, err := h.path("/proc")
	if err != nil {
		return "", err
	}
	proc, err := os.Open(dir)
	if err != nil {
		return "", fmt.Errorf("listing the processes of the node: %w", err)
	}
	defer func() { _ = proc.Close() }()
	processes, zombies, names := 0, 0, map[string]int{}
	for {
		if ctx.Err() != nil {
			return "", fmt.Errorf("counting processes: %w", ctx.Err())
		}
		entries, err := proc.Readdirnames(1024)
		for _, entry := range entries {
			if _, err := strconv.Atoi(entry); err != nil {
				continue
			}
			// A process that has gone in the meantime is no finding.
			if name, state, ok := h.process(entry); ok {
				processes++
				if state == 'Z' {
					zombies++
					names[name]++
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("listing the processes of the node: %w", err)
		}
	}
	if processes == 0 {
		return "", checker.NotChecked("no process is to be seen in /proc of the node; is it mounted at %s?", h.root)
	}
	text := fmt.Sprintf("%d of %d processes are zombies", zombies, processes)
	if name := mostFrequent(names); name != "" {
		text += ", most of them named " + name
	}
	return text, h.limits.zombies.judge(float64(zombies), text)
}

// process reads the name and the state of a process.
func (h *Host) process(pid string) (name string, state byte, ok bool) {
	data, err := h.read("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0, false
	}
	// The name stands in parentheses and may itself hold some.
	open, closing := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || closing < open || closing+2 >= len(data) {
		return "", 0, false
	}
	return string(data[open+1 : closing]), data[closing+2], true
}

func mostFrequent(counts map[string]int) string {
	var name string
	for candidate, n := range counts {
		if n > counts[name] || n == counts[name] && candidate < name {
			name = candidate
		}
	}
	return name
}

// checkClock asks the kernel whether something keeps its clock right. It is a hint: some machines are kept right by their
// hypervisor, of which the kernel does not know.
func (h *Host) checkClock() (string, error) {
	var state unix.Timex
	if _, err := h.clock(&state); err != nil {
		return "", fmt.Errorf("asking the kernel about its clock: %w", err)
	}
	if state.Status&unix.STA_UNSYNC != 0 {
		return "", checker.Noticed("the kernel knows of nothing that keeps the clock right; is an NTP client running on the node?")
	}
	return fmt.Sprintf("the clock is kept right, estimated error %d us", state.Esterror), nil
}
