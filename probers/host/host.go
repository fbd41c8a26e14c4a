// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// maxFile bounds what is read of one file.
const maxFile = 4 << 20

// Host is a node and the thresholds by which it is judged.
type Host struct {
	root string
	// own is the /proc of the pod itself, whose mount table shows the node's mounts below root.
	own    string
	limits limits
	client *http.Client
	// kubeletTime bounds the question to the kubelet.
	kubeletTime time.Duration
	statfs      func(path string, into *unix.Statfs_t) error
	// clock asks the kernel for the state of its clock.
	clock func(into *unix.Timex) (state int, err error)
}

// threshold is where a number becomes a WARN and where an ERROR.
type threshold struct{ warn, fail float64 }

type limits struct {
	disk, inodes, memory, conntrack, load, zombies threshold
	diskPaths                                      []string
	kubelet                                        string
}

// New makes a Host from the environment.
func New(env environ.Lookup) (*Host, error) {
	s := environ.New(env)
	h := &Host{
		root: s.Text("HOST_ROOT", "/host"),
		own:  "/proc",
		limits: limits{
			disk:      pair(s, "HOST_DISK", 80, 90, 100),
			inodes:    pair(s, "HOST_INODES", 80, 90, 100),
			memory:    pair(s, "HOST_MEMORY", 90, 95, 100),
			conntrack: pair(s, "HOST_CONNTRACK", 80, 90, 100),
			load:      pair(s, "HOST_LOAD", 4, 20, 1000),
			zombies:   pair(s, "HOST_ZOMBIES", 50, 500, 1e6),
			diskPaths: s.List("HOST_DISK_PATHS", "/,/var/lib/kubelet,/var/lib/containerd"),
			kubelet:   s.Text("HOST_KUBELET_HEALTHZ", "http://127.0.0.1:10248/healthz"),
		},
		client:      &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		kubeletTime: 10 * time.Second,
		statfs:      unix.Statfs,
		clock:       unix.Adjtimex,
	}
	for _, path := range h.limits.diskPaths {
		if !filepath.IsAbs(path) {
			s.Fail("HOST_DISK_PATHS", "a list of absolute paths such as /,/var/lib/kubelet")
			break
		}
	}
	return h, s.Err()
}

// pair reads NAME_WARN and NAME_ERROR, of which the second must not be lower.
func pair(s *environ.Settings, name string, warn, fail, most float64) threshold {
	t := threshold{s.Float(name+"_WARN", warn, most), s.Float(name+"_ERROR", fail, most)}
	if t.warn > t.fail {
		s.Fail(name+"_ERROR", fmt.Sprintf("at least %s_WARN, %g", name, t.warn))
	}
	return t
}

// Checkers are all checks of the node. Names that the original had are kept.
func (h *Host) Checkers() []checker.Checker {
	return []checker.Checker{
		checker.New("host_kubeletstatus", h.checkKubelet),
		checker.New("host_disk", plain(h.checkDisk)),
		checker.New("host_inodes", plain(h.checkInodes)),
		checker.New("host_readonly_filesystem", plain(h.checkReadOnly)),
		checker.New("host_system_mem", plain(h.checkMemory)),
		checker.New("host_load", plain(h.checkLoad)),
		checker.New("host_conntrack", plain(h.checkConntrack)),
		checker.New("host_zombie_process", h.checkZombies),
		checker.New("host_resolv_file", plain(h.checkResolv)),
		checker.New("host_time_sync", plain(h.checkClock)),
	}
}

// plain is for checks that only read a few files.
func plain(check func() (string, error)) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return check() }
}

// judge compares a number with its threshold; text says what it is about, with the number in it.
func (t threshold) judge(value float64, text string) error {
	switch {
	case value >= t.fail:
		return checker.Broken("%s (limit %g)", text, t.fail)
	case value >= t.warn:
		return checker.Degraded("%s (limit %g)", text, t.warn)
	default:
		return nil
	}
}

// path is where a path of the node is in this pod. Symbolic links are followed as the node would: an absolute one leads to
// below the root of the node, never to a file of this image.
func (h *Host) path(name string) (string, error) {
	path, err := securejoin.SecureJoin(h.root, name)
	if err != nil {
		return "", fmt.Errorf("finding %s of the node: %w", name, err)
	}
	return path, nil
}

// read reads a small file of the node.
func (h *Host) read(name string) ([]byte, error) {
	path, err := h.path(name)
	if err != nil {
		return nil, err
	}
	return readFile(path)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the node: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the node: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading the node: %s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}

// number reads a file that holds one number.
func (h *Host) number(name string) (uint64, error) {
	data, err := h.read(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s of the node: %w", name, err)
	}
	return n, nil
}

// bytesText writes a size as people read it.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, suffix = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if value /= unit; value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
