// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kubeprober/kubeprober/probers/checker"
)

// usage is how full something is; total 0 means that it has no limit.
type usage struct{ used, total uint64 }

func (u usage) percent() float64 { return 100 * float64(u.used) / float64(u.total) }

func (h *Host) checkDisk() (string, error) {
	return h.checkFilesystems("space", h.limits.disk, bytesText, func(s *unix.Statfs_t) usage {
		// Like df: what only root may fill counts neither as used nor as available.
		used := (s.Blocks - s.Bfree) * uint64(s.Bsize)
		return usage{used: used, total: used + s.Bavail*uint64(s.Bsize)}
	})
}

func (h *Host) checkInodes() (string, error) {
	count := func(n uint64) string { return fmt.Sprintf("%d", n) }
	return h.checkFilesystems("inodes", h.limits.inodes, count, func(s *unix.Statfs_t) usage {
		return usage{used: s.Files - s.Ffree, total: s.Files}
	})
}

// checkFilesystems judges how full the file systems of the configured paths are. A path that the node does not have is
// left out, and so is one on a file system that was judged already.
func (h *Host) checkFilesystems(what string, limit threshold, text func(uint64) string, measure func(*unix.Statfs_t) usage) (string, error) {
	var findings []error
	var seen []unix.Fsid
	var all []string
	for _, path := range h.limits.diskPaths {
		var stat unix.Statfs_t
		err := h.statfsOf(path, &stat)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			findings = append(findings, err)
			continue
		}
		if stat.Fsid != (unix.Fsid{}) && slices.Contains(seen, stat.Fsid) {
			continue
		}
		seen = append(seen, stat.Fsid)
		u := measure(&stat)
		if u.total == 0 {
			continue
		}
		line := fmt.Sprintf("%s of %s: %.0f %% of %s used", what, path, u.percent(), text(u.total))
		all = append(all, line)
		findings = append(findings, limit.judge(u.percent(), line))
	}
	if err := errors.Join(findings...); err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", checker.NotChecked("none of %s could be measured; is the root of the node mounted at %s?",
			strings.Join(h.limits.diskPaths, ", "), h.root)
	}
	return strings.Join(all, "; "), nil
}

func (h *Host) statfsOf(path string, stat *unix.Statfs_t) error {
	place, err := h.path(path)
	if err != nil {
		return err
	}
	if err := h.statfs(place, stat); err != nil {
		return fmt.Errorf("measuring %s of the node: %w", path, err)
	}
	return nil
}

// checkReadOnly looks for file systems that the kernel made read-only because of errors.
func (h *Host) checkReadOnly() (string, error) {
	data, err := readFile(filepath.Join(h.own, "self/mountinfo"))
	if err != nil {
		return "", err
	}
	mounts := parseMounts(string(data), h.root)
	if len(mounts) == 0 {
		return "", checker.NotChecked("no file system of the node is mounted at %s", h.root)
	}
	var findings []error
	count := 0
	for _, m := range mounts {
		if !slices.Contains(diskFilesystems, m.kind) {
			continue
		}
		count++
		if m.remounted() {
			findings = append(findings, checker.Broken("%s (%s on %s) has become read-only; the kernel does that after errors of the disk: see dmesg",
				m.path, m.kind, m.source))
		}
	}
	if err := errors.Join(append(findings, h.checkDiskErrors())...); err != nil {
		return "", err
	}
	return fmt.Sprintf("none of %d file systems on disks has become read-only", count), nil
}

// checkDiskErrors reads the error counters that ext4 keeps.
func (h *Host) checkDiskErrors() error {
	dir, err := h.path("/sys/fs/ext4")
	if err != nil {
		return err
	}
	counters, err := filepath.Glob(filepath.Join(dir, "*", "errors_count"))
	if err != nil {
		return fmt.Errorf("listing file systems: %w", err)
	}
	var findings []error
	for _, counter := range counters {
		device := filepath.Base(filepath.Dir(counter))
		n, err := h.number("/sys/fs/ext4/" + device + "/errors_count")
		switch {
		case err != nil:
			findings = append(findings, err)
		case n > 0:
			findings = append(findings, checker.Degraded("ext4 has counted %d errors on %s: see dmesg, and run fsck", n, device))
		}
	}
	return errors.Join(findings...)
}

// diskFilesystems are the kinds that become read-only after errors.
var diskFilesystems = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs"}

// mount is a mounted file system of the node.
type mount struct {
	path, kind, source string
	// options belong to the mount, superOptions to the file system.
	options, superOptions []string
}

// remounted tells that the file system is read-only though the mount is not: nobody mounted it that way. The top of the
// node's root is always mounted read-only into this pod, so there the file system's own policy for errors must say so, too.
func (m mount) remounted() bool {
	readOnly := slices.Contains(m.superOptions, "ro")
	if m.path == "/" {
		return readOnly && slices.Contains(m.superOptions, "errors=remount-ro")
	}
	return readOnly && slices.Contains(m.options, "rw")
}

// parseMounts reads the mounts at and below root from a mountinfo file; see proc_pid_mountinfo(5).
func parseMounts(mountinfo, root string) []mount {
	var mounts []mount
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(rest) < 3 {
			continue
		}
		path := unescape.Replace(fields[4])
		below, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
		if !ok || below != "" && below[0] != '/' {
			continue
		}
		if below == "" {
			below = "/"
		}
		mounts = append(mounts, mount{
			path: below, kind: rest[0], source: rest[1],
			options: strings.Split(fields[5], ","), superOptions: strings.Split(rest[2], ","),
		})
	}
	return mounts
}

// unescape undoes the kernel's escapes in mount paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
