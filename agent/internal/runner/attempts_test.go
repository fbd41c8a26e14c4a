// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/kubeprober/kubeprober/agent/internal/run"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

func jobFor(namespace, runID, node string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: run.JobName(runID, node), Labels: map[string]string{kubeproberv1.RunIDLabel: runID},
		Annotations: map[string]string{run.NodeAnnotation: node},
	}}
}

func TestTheFirstRefusalOfARunAndNodeIsKeptAtItsJob(t *testing.T) {
	first, second := jobFor("kubeprober", "r", "n1"), jobFor("kubeprober-elevated", "r", "n2")
	var patches atomic.Int32
	c := fake.NewClientBuilder().WithObjects(first, second).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			patches.Add(1)
			return c.Patch(ctx, o, p, opts...)
		},
	}).Build()
	here, elsewhere := NewAttempts(c), NewAttempts(c)
	here.Refused(t.Context(), "r", "n1", "400 \x1b[31mgarbage "+strings.Repeat("x", 1<<20))
	here.Refused(t.Context(), "r", "n1", "413 too large")
	elsewhere.Refused(t.Context(), "r", "n1", "403 for another probe")
	elsewhere.Refused(t.Context(), "r", "n2", "403 for another probe")
	if patches.Load() != 2 {
		t.Errorf("%d patches for two Jobs", patches.Load())
	}
	for _, reader := range []*Attempts{here, elsewhere, NewAttempts(c)} {
		// Its cache is behind: only the API server has the note.
		for node, want := range map[string]string{"n1": "400  [31mgarbage xxx", "n2": "403 for another probe"} {
			namespace := map[string]string{"n1": "kubeprober", "n2": "kubeprober-elevated"}[node]
			job := jobFor(namespace, "r", node)
			got, err := reader.of(t.Context(), c, job, run.Meta{RunID: "r", Node: node})
			if err != nil || !strings.HasPrefix(got, want) || len([]rune(got)) > attemptLength {
				t.Errorf("node %s: %q, %v", node, got, err)
			}
		}
	}
}

func TestAJobWithoutARefusalSaysNothing(t *testing.T) {
	job := jobFor("kubeprober", "r", "")
	c := fake.NewClientBuilder().WithObjects(job).Build()
	for name, one := range map[string]*batchv1.Job{"there": job, "gone": jobFor("kubeprober", "other", "")} {
		if got, err := NewAttempts(c).of(t.Context(), c, one, run.Meta{RunID: one.Name}); got != "" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestARefusalOutlivesAnOutageOfTheAPIServer(t *testing.T) {
	job := jobFor("kubeprober", "r", "")
	var away atomic.Bool
	away.Store(true)
	patched := make(chan struct{}, 1)
	c := fake.NewClientBuilder().WithObjects(job).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			defer func() { patched <- struct{}{} }()
			return c.Patch(ctx, o, p, opts...)
		},
	}).Build()
	a := NewAttempts(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Start(ctx) }()
	a.Refused(t.Context(), "r", "", "503 cannot be stored")
	if got, err := a.of(t.Context(), c, job, run.Meta{RunID: "r"}); got != "503 cannot be stored" || err != nil {
		t.Errorf("while the API server is away: %q, %v", got, err)
	}
	away.Store(false)
	<-patched
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil || job.Annotations[attemptAnnotation] == "" {
		t.Errorf("annotations %v, %v", job.Annotations, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestARefusalWhoseJobIsGoneIsGivenUp(t *testing.T) {
	a := NewAttempts(fake.NewClientBuilder().Build())
	key := attemptKey{"r", ""}
	one := &attempt{why: "x"}
	a.pending[key] = one
	for range maxTries - 1 {
		if a.write(t.Context(), key, one) {
			t.Fatal("given up early: the cache may be behind")
		}
	}
	if !a.write(t.Context(), key, one) || len(a.pending) != 0 {
		t.Error("it is tried for ever")
	}
}
