// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"reflect"
	"testing"
)

func TestParseTable(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want Table
	}{
		"cells may hold spaces and be empty": {
			text: "NAME    MESSAGE         AGE\na       it is fine      5m\nlonger                  7m\n",
			want: Table{
				Header: []string{"NAME", "MESSAGE", "AGE"},
				Rows: []map[string]string{
					{"NAME": "a", "MESSAGE": "it is fine", "AGE": "5m"},
					{"NAME": "longer", "MESSAGE": "", "AGE": "7m"},
				},
			},
		},
		"columns are counted in characters": {
			text: "NAME   AGE\nä…     5m\n",
			want: Table{Header: []string{"NAME", "AGE"}, Rows: []map[string]string{{"NAME": "ä…", "AGE": "5m"}}},
		},
		"a header alone has no rows": {
			text: "NAME   AGE\n",
			want: Table{Header: []string{"NAME", "AGE"}},
		},
		"a short row has empty cells": {
			text: "NAME   AGE\na\n",
			want: Table{Header: []string{"NAME", "AGE"}, Rows: []map[string]string{{"NAME": "a", "AGE": ""}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ParseTable(tt.text); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}
