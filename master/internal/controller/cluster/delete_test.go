// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/fleet"
	"github.com/kubeprober/kubeprober/master/internal/heartbeat"
	"github.com/kubeprober/kubeprober/tunnel/hub"
)

// noTunnels is a hub to which nobody is connected. Five minutes cannot be waited for in a suite with a real one.
type noTunnels struct{}

func (noTunnels) Connected(string) bool                          { return false }
func (noTunnels) RoundTripper(string) http.RoundTripper          { return nil }
func (noTunnels) Disconnect(string, string) bool                 { return false }
func (noTunnels) Subscribe(func(hub.Event)) (unsubscribe func()) { return func() {} }

func TestDeletedClusterThatCannotBeReached(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		ago   time.Duration
		gone  bool
		event string
	}{
		{name: "is waited for", ago: 4 * time.Minute},
		{name: "is let go after five minutes, with an event that says what is left", ago: 5*time.Minute + time.Second, gone: true, event: "kubectl delete probes,proberuns -n kubeprober"},
	} {
		t.Run(test.name, func(t *testing.T) {
			deleted := metav1.NewTime(time.Now().Add(-test.ago))
			cluster := &kubeproberv1.Cluster{
				ObjectMeta: metav1.ObjectMeta{Name: "edge", DeletionTimestamp: &deleted, Finalizers: []string{kubeproberv1.ClusterFinalizer}},
				Status:     kubeproberv1.ClusterStatus{ProbeNamespace: "kubeprober"},
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(cluster).Build()
			recorder := events.NewFakeRecorder(1)
			r := &Reconciler{Client: c, Fleet: fleet.New(fleet.Options{Tunnels: noTunnels{}, Scheme: scheme}), Beats: heartbeat.NewStore(), Events: recorder, synced: map[string]keys{}, slots: newSlots(1)}
			key := client.ObjectKeyFromObject(cluster)
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
			if err != nil {
				t.Fatal(err)
			}
			err = c.Get(t.Context(), key, cluster)
			if gone := apierrors.IsNotFound(err); gone != test.gone {
				t.Errorf("gone = %t, want %t", gone, test.gone)
			}
			if !test.gone && (result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute) {
				t.Errorf("looks again in %s, want within the minute that is left", result.RequeueAfter)
			}
			select {
			case event := <-recorder.Events:
				if test.event == "" || !strings.Contains(event, test.event) {
					t.Errorf("event %q, want %q", event, test.event)
				}
			default:
				if test.event != "" {
					t.Error("there is no event")
				}
			}
		})
	}
}
