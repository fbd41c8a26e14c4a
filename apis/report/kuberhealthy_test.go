// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"
)

func TestKuberhealthyReports(t *testing.T) {
	for name, tc := range map[string]struct {
		body, want, wantErr string
	}{
		"a good one":                                {body: `{"ok":true,"errors":[]}`, want: "PASS "},
		"one of the older clients":                  {body: `{"OK":true,"Errors":null}`, want: "PASS "},
		"one without errors":                        {body: `{"ok":true}`, want: "PASS "},
		"a bad one":                                 {body: `{"ok":false,"errors":["dns is down","and etcd"]}`, want: "ERROR dns is down; and etcd"},
		"errors with terminal codes":                {body: `{"ok":false,"errors":["\u001b[31mred\nline"]}`, want: "ERROR [31mred line"},
		"errors of a mebibyte":                      {body: `{"ok":false,"errors":["` + strings.Repeat("x", 1<<20) + `"]}`, want: "ERROR " + strings.Repeat("x", 1023) + "…"},
		"100,000 errors":                            {body: `{"ok":false,"errors":["a"` + strings.Repeat(`,"a"`, 99999) + `]}`, want: "ERROR " + strings.Repeat("a; ", 341) + "…"},
		"ok with errors":                            {body: `{"ok":true,"errors":["x"]}`, wantErr: "ok is true, and there are errors"},
		"not ok without errors":                     {body: `{"ok":false,"errors":[]}`, wantErr: "ok is false, and there are no errors"},
		"not ok with a blank error":                 {body: `{"ok":false,"errors":["x"," "]}`, wantErr: "errors[1] is blank"},
		"no ok":                                     {body: `{"errors":["x"]}`, wantErr: "ok is missing"},
		"ok that is no boolean":                     {body: `{"ok":"yes"}`, wantErr: "parsing Kuberhealthy report"},
		"errors that are no list":                   {body: `{"ok":false,"errors":"x"}`, wantErr: "parsing Kuberhealthy report"},
		"garbage":                                   {body: `ok`, wantErr: "parsing Kuberhealthy report"},
		"half of one":                               {body: `{"ok":fal`, wantErr: "parsing Kuberhealthy report"},
		"something behind it":                       {body: `{"ok":true} {}`, wantErr: "parsing Kuberhealthy report"},
		"one that is of our contract at once":       {body: `{"ok":true,"checkers":[]}`, wantErr: "holds both"},
		"an array of them, which is no report":      {body: `[{"ok":true}]`, wantErr: "parsing Kuberhealthy report"},
		"null, which says nothing":                  {body: `null`, wantErr: "ok is missing"},
		"fields that nobody knows, which are fine":  {body: `{"ok":true,"errors":[],"extra":1}`, want: "PASS "},
		"invalid UTF-8 in an error, made printable": {body: "{\"ok\":false,\"errors\":[\"a\xffb\"]}", want: "ERROR a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseKuberhealthy([]byte(tc.body), "probe")
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c := r.Checkers[0]; len(r.Checkers) != 1 || c.Name != "probe" || string(c.Status)+" "+c.Message != tc.want {
				t.Errorf("got %+v, want %q", r.Checkers, tc.want)
			}
		})
	}
}

func TestTheShapeOfABodyTellsTheContract(t *testing.T) {
	for name, tc := range map[string]struct {
		body         string
		header, want bool
	}{
		"ours":                             {body: `{"checkers":[]}`},
		"ours with a header of theirs":     {body: `{"checkers":[]}`, header: true},
		"theirs":                           {body: `{"ok":true}`, header: true, want: true},
		"theirs without the header":        {body: `{"OK":false,"Errors":["x"]}`, want: true},
		"neither with the header":          {body: `{"errors":[]}`, header: true, want: true},
		"neither":                          {body: `{}`},
		"both, to be told what is wrong":   {body: `{"ok":true,"checkers":[]}`, want: true},
		"garbage":                          {body: `{`},
		"garbage with the header":          {body: `{`, header: true, want: true},
		"ok that is null, which is absent": {body: `{"ok":null,"checkers":[]}`, header: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := IsKuberhealthy([]byte(tc.body), tc.header); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzParseKuberhealthy(f *testing.F) {
	f.Add([]byte(`{"ok":true,"errors":[]}`))
	f.Add([]byte(`{"OK":false,"Errors":["dns \u001b[2J"]}`))
	f.Add([]byte(`{"ok":false,"errors":["\xff"],"checkers":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		IsKuberhealthy(body, false)
		r, err := ParseKuberhealthy(body, "probe")
		if err != nil {
			return
		}
		c := r.Checkers[0]
		if len(r.Checkers) != 1 || c.Name != "probe" || (c.Status == "PASS") != (c.Message == "") || c.Status != "PASS" && c.Status != "ERROR" {
			t.Fatalf("accepted %+v", r.Checkers)
		}
		checkText(t, c.Message)
		if !IsKuberhealthy(body, false) {
			t.Fatal("an accepted body has not the shape of one")
		}
	})
}
