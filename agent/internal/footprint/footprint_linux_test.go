// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// residentFile is how much of files is resident, in kB.
func residentFile(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if value, found := strings.CutPrefix(line, "RssFile:"); found {
			size, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return size
		}
	}
	t.Fatal("the status has no RssFile")
	return 0
}

func TestTrimGivesPagesBackAndTheProgramRunsOn(t *testing.T) {
	program, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	before := residentFile(t)
	for range 3 {
		if err := Trim(); err != nil {
			t.Fatal(err)
		}
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d kB of files are resident after, and %d kB before", after, before)
	}
	if again, err := os.ReadFile("/proc/self/maps"); err != nil || len(again) < len(program)/2 {
		t.Errorf("the address space has changed: %v\n%s", err, again)
	}
}

func TestOnlyWhatCannotBeWrittenIsGivenBack(t *testing.T) {
	var maps strings.Builder
	for _, m := range []struct{ header, anonymous string }{
		{"00400000-0145e000 r-xp 00000000 fe:00 10 /probe-agent", "0"},
		{"0145e000-0256a000 r--p 0105e000 fe:00 10 /probe-agent", "0"},
		{"0256a000-02570000 r--p 0206a000 fe:00 10 /probe-agent", "24"},
		{"02570000-02600000 rw-p 0216a000 fe:00 10 /probe-agent", "0"},
		{"02600000-02700000 r--s 0216a000 fe:00 10 /probe-agent", "0"},
		{"166314000000-166315400000 rw-p 00000000 00:00 0", "17852"},
		{"7f4f45e00000-7f4f46200000 r--p 00000000 fe:00 11 /lib/other", "0"},
	} {
		fmt.Fprintf(&maps, "%s\nSize: 64 kB\nRss: 64 kB\nAnonymous: %s kB\nVmFlags: rd mr mw me\n", m.header, m.anonymous)
	}
	got, err := constantsOf(strings.NewReader(maps.String()), "/probe-agent")
	if err != nil {
		t.Fatal(err)
	}
	if want := []mapping{{0x400000, 0x145e000}, {0x145e000, 0x256a000}}; !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if _, err := constantsOf(strings.NewReader("02-01 r-xp 0 fe:00 10 /probe-agent\n"), "/probe-agent"); err == nil {
		t.Error("a range that ends before it begins is taken")
	}
}

func TestATrimmerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Trimmer{Log: logr.Discard()}).Start(ctx); err != nil {
		t.Error(err)
	}
}
