// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNear bounds how many names like a wrong one are shown.
const maxNear = 3

// Near picks the names that the user may have meant by name, best first, at most three.
func Near(name string, names []string) []string {
	type scored struct {
		name     string
		distance int
	}
	var near []scored
	for _, candidate := range names {
		away := distance(name, candidate)
		switch {
		case away <= max(1, len(name)/3):
			near = append(near, scored{candidate, away})
		case len(name) >= 3 && (strings.Contains(candidate, name) || strings.Contains(name, candidate)):
			near = append(near, scored{candidate, len(name)})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return cmp.Compare(a.distance, b.distance) })
	picked := make([]string, 0, maxNear)
	for _, candidate := range near[:min(maxNear, len(near))] {
		picked = append(picked, candidate.name)
	}
	return picked
}

// distance counts the letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := diagonal
			if a[i-1] != b[j-1] {
				replaced++
			}
			diagonal = row[j]
			row[j] = min(replaced, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// orList writes names as a choice: "a", "b" or "c".
func orList(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, name := range names {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
