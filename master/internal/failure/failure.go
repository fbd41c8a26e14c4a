// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package failure keeps the texts of failures that repeat steady: one that differs from attempt to attempt, written into
// a status, would wake the next attempt at once and so pass the backoff by. It knows nothing of what failed.
package failure

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// steadyFor is how long a text stays.
	steadyFor = time.Minute
	// maxRunes bounds a text, in characters.
	maxRunes = 4096
)

type entry struct {
	reason, text string
	at           time.Time
}

// Texts remembers the texts of the last minute. The zero value is ready; all methods may be called at once.
type Texts struct {
	mu      sync.Mutex
	entries map[string]entry
}

// Steady returns the text to write for an object: the one of less than a minute ago while the condition has been False for
// the same reason since, else the new one, cut to 4096 characters.
func (t *Texts) Steady(object string, conditions []metav1.Condition, kind, reason, text string, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	// This bounds the memory to what failed within a minute.
	maps.DeleteFunc(t.entries, func(_ string, e entry) bool { return now.Sub(e.at) >= steadyFor })
	old := meta.FindStatusCondition(conditions, kind)
	last, ok := t.entries[object]
	if ok && last.reason == reason && old != nil && old.Status == metav1.ConditionFalse && old.Reason == reason {
		return last.text
	}
	if runes := []rune(text); len(runes) > maxRunes {
		text = string(runes[:maxRunes-1]) + "…"
	}
	if t.entries == nil {
		t.entries = map[string]entry{}
	}
	t.entries[object] = entry{reason: reason, text: text, at: now}
	return text
}
