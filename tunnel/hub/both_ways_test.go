// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// The test of this file takes half a minute. It comes first, so that the others run beside
// it: tests that are parallel begin in the order of their files.

func TestUpgradedStreamGoesOnAfterBothSidesWereUnread(t *testing.T) {
	t.Parallel()
	const size, pause = 64 << 20, 30 * time.Second
	drain := make(chan struct{})
	s, _ := connected(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw := takeUpgrade(w)
		defer func() { _ = conn.Close() }()
		wrote := make(chan error, 1)
		go func() {
			_, err := io.CopyN(conn, zeros{}, size)
			wrote <- err
		}()
		<-drain
		if _, err := io.CopyN(io.Discard, rw, size); err != nil {
			t.Errorf("reading at the far end: %v", err)
		}
		if err := <-wrote; err != nil {
			t.Errorf("writing at the far end: %v", err)
		}
		_, _ = io.Copy(conn, rw)
	}))
	conn := upgrade(t, s)
	progress := &counter{w: conn}
	wrote := make(chan error, 1)
	go func() {
		_, err := io.CopyN(progress, zeros{}, size)
		wrote <- err
	}()
	// Nobody reads at either end: both writers come to a stop.
	before := int64(-1)
	poll(t, 300*time.Millisecond, func() bool {
		now := progress.n.Load()
		stopped := now == before
		before = now
		return stopped
	})
	if n := progress.n.Load(); n == size {
		t.Fatal("everything was taken with nobody reading")
	}
	if !testing.Short() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		<-timer.C
	}
	close(drain)
	if _, err := io.CopyN(io.Discard, conn, size); err != nil {
		t.Fatalf("reading: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Fatalf("writing: %v", err)
	}
	if _, err := conn.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "still here" {
		t.Errorf("after that: %q, %v", got, err)
	}
	_ = conn.Close()
}
