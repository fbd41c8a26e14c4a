// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubeprober/kubeprober/probers/checker"
)

type namespaces = map[types.UID]*corev1.Namespace

func newNamespaceCheck(t *testing.T, config *rest.Config, set map[string]string) *namespaceCheck {
	t.Helper()
	made, err := NewNamespaceCheck(clusterFor(t, config), settingsOf(set))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := made.(*namespaceCheck)
	if !ok {
		t.Fatalf("it is a %T", made)
	}
	return c
}

// release lets the namespace controller remove the namespaces that it kept.
func (w *world) release(t *testing.T) {
	t.Helper()
	w.behave(t, nil)
	list, err := w.admin.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: CheckerLabel})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		list.Items[i].Spec.Finalizers = nil
		if _, err := w.admin.CoreV1().Namespaces().Finalize(t.Context(), &list.Items[i], metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if list.Items[i].DeletionTimestamp == nil {
			if err := w.admin.CoreV1().Namespaces().Delete(t.Context(), list.Items[i].Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestNamespaceCheckJudges(t *testing.T) {
	tests := map[string]struct {
		config  *rest.Config
		set     map[string]string
		timeout time.Duration
		world   func(w *world)
		status  checker.Status
		says    string
		keeps   bool
	}{
		"a healthy cluster is PASS": {status: checker.Pass, says: "a namespace was created, ready and deleted in"},
		"a namespace that does not go is ERROR": {
			set: map[string]string{"CHECK_TIMEOUT": "3s"}, world: func(w *world) { w.keepNamespaces = true },
			status: checker.Error, says: "was deleted but is not gone", keeps: true,
		},
		"a namespace without a service account is ERROR": {
			set: map[string]string{"CHECK_TIMEOUT": "3s"}, world: func(w *world) { w.noAccounts = true },
			status: checker.Error, says: "did not get its default service account within",
		},
		"a run too short to judge is UNKNOWN": {
			set: map[string]string{"CHECK_TIMEOUT": "15m"}, timeout: 3 * time.Second, world: func(w *world) { w.noAccounts = true },
			status: checker.Unknown, says: "too short to judge",
		},
		"no permission is UNKNOWN with what to grant": {
			config: theWorld.nobody, status: checker.Unknown, says: "creating a namespace is not allowed; grant it",
		},
		"an API server that cannot be reached is UNKNOWN": {
			config: &rest.Config{Host: "https://127.0.0.1:1"}, status: checker.Unknown, says: "the API server cannot be reached",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			theWorld.behave(t, test.world)
			if test.config == nil {
				test.config = theWorld.worker
			}
			c := newNamespaceCheck(t, test.config, test.set)
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			status, message := c.Check(ctx)
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s", status, message, test.status, test.says)
			}
			if test.keeps {
				theWorld.release(t)
			}
			if left := theWorld.left(t, NamespaceChecker); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestNamespacesOfKilledChecksAreReaped(t *testing.T) {
	theWorld.behave(t, nil)
	for name, deadline := range map[string]time.Time{"killed": time.Now().Add(-time.Minute), "alive": time.Now().Add(time.Minute)} {
		i := newIdentity(settingsOf(nil), NamespaceChecker, name)
		if _, err := theWorld.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: i.meta(deadline)}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	status, message := newNamespaceCheck(t, theWorld.worker, nil).Check(t.Context())
	if status != checker.Pass || !strings.Contains(message, "1 namespaces that earlier checks left were removed") {
		t.Errorf("got %s %s", status, message)
	}
	err := await(t.Context(), theWorld.admin.CoreV1().Namespaces(), metav1.ListOptions{LabelSelector: CheckerLabel},
		func(objects namespaces) (bool, error) { return len(objects) == 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	if left := fmt.Sprint(theWorld.left(t, NamespaceChecker)); !strings.Contains(left, "alive") {
		t.Errorf("left are %s", left)
	}
	theWorld.release(t)
}

func TestCleanupRemovesTheNamespaceOfAStoppedCheck(t *testing.T) {
	theWorld.behave(t, func(w *world) { w.noAccounts = true })
	c := newNamespaceCheck(t, theWorld.worker, map[string]string{"CHECK_TIMEOUT": "15m"})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		err := await(ctx, theWorld.admin.CoreV1().Namespaces(), named(c.identity.instance),
			func(objects namespaces) (bool, error) { return len(objects) == 1, nil })
		stop()
		stopped <- err
	}()
	if status, message := c.Check(ctx); status != checker.Unknown || !strings.Contains(message, "the run was stopped") {
		t.Errorf("got %s %s", status, message)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if err := c.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := await(t.Context(), theWorld.admin.CoreV1().Namespaces(), named(c.identity.instance),
		func(objects namespaces) (bool, error) { return len(objects) == 0, nil })
	if err != nil {
		t.Error(err)
	}
}
