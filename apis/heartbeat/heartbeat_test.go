// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func TestDecode(t *testing.T) {
	valid := func(change func(*Heartbeat)) string {
		h := &Heartbeat{ProbeNamespace: "kubeprober", NodeCount: 3, Probes: []kubeproberv1.ClusterProbeStatus{
			{Name: "k8s", Status: kubeproberv1.CheckerPass, Total: 3},
		}}
		if change != nil {
			change(h)
		}
		body, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	probes := func(n int) []kubeproberv1.ClusterProbeStatus {
		list := make([]kubeproberv1.ClusterProbeStatus, n)
		for i := range list {
			list[i].Name = fmt.Sprintf("probe-%d", i)
		}
		return list
	}
	for name, tc := range map[string]struct{ body, wantErr string }{
		"takes a whole state":                 {body: valid(nil)},
		"takes a cluster without probes":      {body: valid(func(h *Heartbeat) { h.Probes = nil })},
		"takes as many probes as the bound":   {body: valid(func(h *Heartbeat) { h.Probes = probes(MaxProbes) })},
		"refuses more probes than the bound":  {body: valid(func(h *Heartbeat) { h.Probes = probes(MaxProbes + 1) }), wantErr: "257 probes"},
		"refuses more runs than the bound":    {body: valid(func(h *Heartbeat) { h.Runs = make([]Run, MaxRuns+1) }), wantErr: "65 runs"},
		"refuses a run without an ID":         {body: valid(func(h *Heartbeat) { h.Runs = make([]Run, 1) }), wantErr: "runs[0]: id is empty"},
		"refuses a probe twice":               {body: valid(func(h *Heartbeat) { h.Probes = append(h.Probes, h.Probes[0]) }), wantErr: `probe "k8s" stands twice`},
		"refuses a probe without a name":      {body: valid(func(h *Heartbeat) { h.Probes[0].Name = "" }), wantErr: "probes[0]: name"},
		"refuses an unknown status":           {body: valid(func(h *Heartbeat) { h.Probes[0].Status = "GREEN" }), wantErr: `status "GREEN"`},
		"refuses negative counts":             {body: valid(func(h *Heartbeat) { h.Probes[0].Error = -1 }), wantErr: "negative"},
		"refuses a negative node count":       {body: valid(func(h *Heartbeat) { h.NodeCount = -1 }), wantErr: "negative"},
		"refuses a message over the bound":    {body: valid(func(h *Heartbeat) { h.Probes[0].Message = strings.Repeat("ä", 1025) }), wantErr: "longer than 1024"},
		"refuses a missing probe namespace":   {body: `{"nodeCount":1}`, wantErr: "probeNamespace is empty"},
		"refuses what is not JSON":            {body: `hello`, wantErr: "parsing heartbeat"},
		"refuses a body over one mebibyte":    {body: strings.Repeat(" ", MaxBytes+1), wantErr: ErrTooLarge.Error()},
		"refuses too many entries of its own": {body: valid(func(h *Heartbeat) { h.ExtraStatus = entries(MaxExtraStatus + 1) }), wantErr: "65 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(tc.body))
			if tc.wantErr == "" && err != nil {
				t.Fatalf("got error %v", err)
			}
			if tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Fatalf("got error %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}

func entries(n int) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		m[fmt.Sprint(i)] = ""
	}
	return m
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"probeNamespace":"kubeprober","nodeCount":1,"probes":[{"name":"k8s","status":"PASS"}],"runs":[{"id":"1","resourceVersion":"2"}]}`)
	f.Add(`{"probeNamespace":"x","probes":[{"name":"k8s","lastRun":"2026-11-22T12:00:00Z"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		h, err := Decode(strings.NewReader(body))
		if err != nil {
			return
		}
		if h.ProbeNamespace == "" || len(h.Probes) > MaxProbes || len(h.Runs) > MaxRuns {
			t.Fatalf("accepted %+v", h)
		}
	})
}
