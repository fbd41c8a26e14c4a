// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/go-logr/logr"

	"github.com/kubeprober/kubeprober/tunnel/hub"
)

func FuzzAuthenticate(f *testing.F) {
	f.Add(secret, cluster, clusterUID, "v0.1.5")
	f.Add("", cluster, clusterUID, "")
	f.Add(secret+" ", "a::b", "", "")
	h, err := hub.New(hub.Options{
		Secrets: func() [][]byte { return [][]byte{[]byte(secret), []byte("another")} },
		Binder:  &binder{},
		Log:     logr.Discard(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, presented, name, uid, version string) {
		id, err := h.Authenticate(&http.Request{Header: http.Header{
			"Secret-Key":      {presented},
			"X-Cluster-Name":  {name},
			"X-Cluster-Uid":   {uid},
			"X-Agent-Version": {version},
		}})
		if err == nil {
			known := presented == secret || presented == "another"
			if !known || id.Cluster != name || name == "" || len(name) > 63 || id.UID != uid || uid == "" || len(uid) > 64 || len(version) > 128 {
				t.Errorf("%q %q %q %q was let in as %+v", presented, name, uid, version, id)
			}
			return
		}
		var refused *hub.AuthError
		if !errors.As(err, &refused) || refused.Status/100 != 4 || id != (hub.Identity{}) {
			t.Errorf("%v, %+v", err, id)
		}
	})
}
