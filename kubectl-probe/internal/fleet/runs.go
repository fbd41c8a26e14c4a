// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// maxIDs bounds how many IDs are tried for one new run.
const maxIDs = 60

// runNamespace holds the ProbeRuns: the master's for a named cluster, else the agent's.
func (f *Fleet) runNamespace(cluster string) string {
	if cluster == "" {
		return f.flags.Namespace()
	}
	return f.flags.ProbeNamespace
}

// CreateRun asks for a one-time diagnosis of a Cluster of the master, or with an empty name of the cluster of the kubeconfig.
// Without probes, all are run. The ID is the Unix time now; when another run has taken that second, the next free one.
func (f *Fleet) CreateRun(ctx context.Context, cluster string, probes []string, now time.Time) (*kubeproberv1.ProbeRun, error) {
	// A request that is cut off may have been heard. Its outcome must be known, or the user loses the ID of a run.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	run := &kubeproberv1.ProbeRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: kubeproberv1.GroupVersion.String(), Kind: "ProbeRun"},
		ObjectMeta: metav1.ObjectMeta{Namespace: f.runNamespace(cluster)},
		Spec:       kubeproberv1.ProbeRunSpec{ClusterName: cluster},
	}
	if cluster != "" {
		run.Labels = map[string]string{kubeproberv1.ClusterLabel: cluster}
	}
	for _, name := range probes {
		run.Spec.Probes = append(run.Spec.Probes, kubeproberv1.RunProbe{Name: name})
	}
	what := call{verb: "create", resource: "proberuns", namespace: run.Namespace}
	for id := now.Unix(); id < now.Unix()+maxIDs; id++ {
		run.Name = strconv.FormatInt(id, 10)
		created := &kubeproberv1.ProbeRun{}
		err := f.client.rest.Post().Namespace(run.Namespace).Resource("proberuns").Body(run).MaxRetries(serverRetries).Do(ctx).Into(created)
		if err == nil {
			return created, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, f.client.wrap(ctx, what, err)
		}
	}
	return nil, exit.New(exit.General, "the IDs of the next %d seconds are taken by other runs: try again later", maxIDs)
}

// Run reads one run of a Cluster of the master, or with an empty name of the cluster of the kubeconfig.
func (f *Fleet) Run(ctx context.Context, cluster, id string) (*kubeproberv1.ProbeRun, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	run := &kubeproberv1.ProbeRun{}
	err := f.client.get(ctx, call{resource: "proberuns", namespace: f.runNamespace(cluster), name: id}, run)
	unknown := apierrors.IsNotFound(err) && namesObject(err)
	if err == nil && cluster != "" && run.Spec.ClusterName != cluster {
		unknown = true
	}
	if unknown {
		return nil, f.unknownRun(ctx, cluster, id)
	}
	return run, err
}

func (f *Fleet) unknownRun(ctx context.Context, cluster, id string) error {
	if cluster == "" {
		return exit.New(exit.General, "run %q not found in namespace %s", id, f.runNamespace(cluster)).
			Then(f.flags.ProbeCommand("oncestatus", "", "-l"))
	}
	if _, err := f.Cluster(ctx, cluster); err != nil {
		return err
	}
	return exit.New(exit.General, "run %q of cluster %q not found", id, cluster).
		Then(f.flags.ProbeCommand("oncestatus", cluster, "-l"))
}

// Runs lists the runs of a Cluster of the master, or with an empty name of the cluster of the kubeconfig, newest first.
func (f *Fleet) Runs(ctx context.Context, cluster string) ([]kubeproberv1.ProbeRun, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var selector labels.Selector
	if cluster != "" {
		selector = labels.SelectorFromSet(labels.Set{kubeproberv1.ClusterLabel: cluster})
	}
	runs, err := f.client.probeRuns(ctx, f.runNamespace(cluster), selector)
	if err != nil {
		return nil, err
	}
	runs = slices.DeleteFunc(runs, func(run kubeproberv1.ProbeRun) bool { return cluster != "" && run.Spec.ClusterName != cluster })
	slices.SortStableFunc(runs, func(a, b kubeproberv1.ProbeRun) int {
		if byTime := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); byTime != 0 {
			return byTime
		}
		return cmp.Compare(b.Name, a.Name)
	})
	return runs, nil
}

// FollowRun watches one run and calls see with each state of it, the first at once, until the run is finished or see
// returns an error. Lost connections and expired watches are survived; lost is told of them, in a goroutine of its own. It
// returns the last state, and the cause of ctx when that ended first.
func (f *Fleet) FollowRun(
	ctx context.Context, cluster, id string, see func(*kubeproberv1.ProbeRun) error, lost func(error),
) (*kubeproberv1.ProbeRun, error) {
	namespace := f.runNamespace(cluster)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// The informer below tries for ever; what cannot become better ends it here.
	check := func(verb string, err error) {
		if err == nil || ctx.Err() != nil {
			return
		}
		what := call{verb: verb, resource: "proberuns", namespace: namespace, name: id}
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
			stop(f.client.wrap(ctx, what, err))
		} else if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			lost(withoutURL(err))
		}
	}
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			found, err := f.client.listRun(ctx, namespace, id, options)
			check("list", err)
			return found, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			events, err := f.client.watchRun(ctx, namespace, id, options)
			check("watch", err)
			return events, err
		},
	}
	gone := exit.New(exit.Incomplete, "run %s was deleted before it finished", id)
	var last *kubeproberv1.ProbeRun
	present := func(store cache.Store) (bool, error) {
		if len(store.List()) == 0 {
			return false, gone
		}
		return false, nil
	}
	_, err := watchtools.UntilWithSync(ctx, source, &kubeproberv1.ProbeRun{}, present, func(event watch.Event) (bool, error) {
		if event.Type == watch.Deleted {
			return false, gone
		}
		run, ok := event.Object.(*kubeproberv1.ProbeRun)
		if !ok {
			return false, fmt.Errorf("watching run %s: the API server sent a %T", id, event.Object)
		}
		last = run
		return run.Status.Phase.Finished(), see(run)
	})
	if cause := context.Cause(ctx); cause != nil && wait.Interrupted(err) {
		err = cause
	}
	return last, err
}
