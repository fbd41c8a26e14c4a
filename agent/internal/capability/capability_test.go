// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func authority(t testing.TB, fill byte) *Authority {
	t.Helper()
	a, err := NewAuthority(bytes.Repeat([]byte{fill}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var claims = Claims{Namespace: "kubeprober", Probe: "k8s", OwnerUID: "0b5e", RunID: "k8s-1", Node: "n1", Deadline: 1800000000}

func TestACapabilitySurvivesARestart(t *testing.T) {
	text, err := authority(t, 1).Issue(claims)
	if err != nil {
		t.Fatal(err)
	}
	got, err := authority(t, 1).Verify(text)
	if err != nil {
		t.Fatal(err)
	}
	if *got != claims {
		t.Errorf("got %+v, want %+v", *got, claims)
	}
	if got.Over(time.Unix(1800000000, 0)) || !got.Over(time.Unix(1800000001, 0)) {
		t.Error("the capability does not end with its deadline")
	}
}

func TestEveryChangeOfACapabilityIsFoundOut(t *testing.T) {
	a := authority(t, 1)
	text, err := a.Issue(claims)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		changed := []byte(text)
		changed[i] ^= 1
		if _, err := a.Verify(string(changed)); !errors.Is(err, ErrForged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	other := claims
	other.Probe = "host"
	foreign, err := a.Issue(other)
	if err != nil {
		t.Fatal(err)
	}
	payload, _, _ := strings.Cut(foreign, separator)
	_, mac, _ := strings.Cut(text, separator)
	for name, forged := range map[string]string{
		"nothing": "", "a separator": ".", "no digest": strings.Split(text, ".")[0], "an empty digest": strings.Split(text, ".")[0] + ".",
		"the digest of another run": payload + "." + mac, "something after it": text + "A", "a part more": text + ".x",
		"too long": strings.Repeat("A", MaxLength+1),
	} {
		if _, err := a.Verify(forged); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := authority(t, 2).Verify(text); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
}

func TestAWeakKeyIsRefused(t *testing.T) {
	if _, err := NewAuthority(make([]byte, KeySize-1)); err == nil {
		t.Error("a short key is taken")
	}
}

func FuzzVerify(f *testing.F) {
	a := authority(f, 1)
	text, err := a.Issue(claims)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{text, "", ".", "..", "e30.", "e30." + strings.Repeat("A", 43), text[:len(text)-1], text + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		got, err := a.Verify(given)
		if err == nil && given != text {
			t.Fatalf("%q is taken for %+v", given, got)
		}
		if err != nil && got != nil {
			t.Fatal("claims are returned with an error")
		}
	})
}
