// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// mapsFile tells for each mapping how many of its pages are no longer those of the file.
const mapsFile = "/proc/self/smaps"

// mapping is a part of the address space.
type mapping struct{ begin, end uintptr }

// unmapProgram drops the pages of the program's code and constants from the resident memory.
func unmapProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding the program's file: %w", err)
	}
	file, err := os.Open(mapsFile)
	if err != nil {
		return fmt.Errorf("opening the map of the address space: %w", err)
	}
	defer func() { _ = file.Close() }()
	mappings, err := constantsOf(file, program)
	if err != nil {
		return err
	}
	for _, m := range mappings {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.begin, m.end-m.begin, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("giving back pages of %s: %w", program, errno)
		}
	}
	return nil
}

// constantsOf finds the parts that a program's file is mapped to, that cannot be written and that nobody has written to before,
// as a dynamic linker does: their pages are those of the file, and nothing is lost with them.
func constantsOf(maps io.Reader, program string) ([]mapping, error) {
	var found []mapping
	var candidate *mapping
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0:
		case !strings.HasSuffix(fields[0], ":"):
			// begin-end permissions offset device inode path
			candidate = nil
			if len(fields) < 6 || fields[5] != program || strings.Contains(fields[1], "w") || !strings.HasSuffix(fields[1], "p") {
				continue
			}
			candidate = &mapping{}
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &candidate.begin, &candidate.end); err != nil || candidate.end <= candidate.begin {
				return nil, fmt.Errorf("reading the map of the address space: %q is no range", fields[0])
			}
		case candidate != nil && fields[0] == "Anonymous:" && len(fields) > 1 && fields[1] == "0":
			found = append(found, *candidate)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the map of the address space: %w", err)
	}
	return found, nil
}
