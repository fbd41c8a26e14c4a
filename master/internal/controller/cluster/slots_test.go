// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestSlotsGoToThoseThatWaitInTurn(t *testing.T) {
	s := newSlots(1)
	var woken []string
	s.onFree(func(cluster string) { woken = append(woken, cluster) })
	if !s.take("a") {
		t.Fatal("the first found no slot")
	}
	for _, cluster := range []string{"b", "c", "b", "d"} {
		if s.take(cluster) {
			t.Fatalf("%s found a slot although the only one is taken", cluster)
		}
	}
	s.give()
	if want := []string{"b"}; !slices.Equal(woken, want) {
		t.Fatalf("woken %v, want %v", woken, want)
	}
	if s.take("late") {
		t.Error("the slot that was offered went to somebody else")
	}
	// b was woken and has nothing to do any more.
	if !s.isOffered("b") || s.isOffered("c") {
		t.Error("the slot was not offered to the one that was woken")
	}
	s.decline("b")
	s.decline("b")
	if want := []string{"b", "c"}; !slices.Equal(woken, want) {
		t.Fatalf("woken %v, want %v", woken, want)
	}
	if !s.take("c") {
		t.Error("the one that was woken found no slot")
	}
	for range 3 {
		s.give()
		if last := woken[len(woken)-1]; s.isOffered(last) && !s.take(last) {
			t.Errorf("%s found no slot", last)
		}
	}
	if want := []string{"b", "c", "d", "late"}; !slices.Equal(woken, want) {
		t.Errorf("woken %v, want %v", woken, want)
	}
	if !s.take("e") || s.take("f") {
		t.Error("there is not one slot at the end")
	}
}

func TestTheControllerBeginsWhenItsReplicaLeads(t *testing.T) {
	r := &Reconciler{slots: newSlots(1)}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	before := time.Now()
	if err := r.startSource().Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	if r.started.Before(before) {
		t.Errorf("the grace for tunnels to come back counts from %s, want from the start of the controller", r.started)
	}
	if !r.slots.take("a") || r.slots.take("b") {
		t.Fatal("there is not one slot")
	}
	r.slots.give()
	if request, _ := queue.Get(); request.Name != "b" {
		t.Errorf("the queue holds %q, want the cluster that waits for a slot", request.Name)
	}
}
