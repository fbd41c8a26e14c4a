// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// measureReports begins another run of the Probe whose reports are timed, and times each from the POST until watches show it.
func (r *rig) measureReports(ctx context.Context) error {
	job, err := r.openRun(ctx)
	if err != nil {
		return err
	}
	statuses, err := r.managed.client.Watch(ctx, &kubeproberv1.ProbeStatusList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": reporter})
	if err != nil {
		return fmt.Errorf("watching ProbeStatus %s: %w", reporter, err)
	}
	defer statuses.Stop()
	clusters, err := r.fleet.client.Watch(ctx, &kubeproberv1.ClusterList{}, client.MatchingFields{"metadata.name": clusterName})
	if err != nil {
		return fmt.Errorf("watching Cluster %s: %w", clusterName, err)
	}
	defer clusters.Stop()
	var toStatus, toCluster []float64
	for i := range r.config.reports {
		message := fmt.Sprintf("report %d of %d", i+1, r.config.reports)
		begin := time.Now()
		inStatus, inCluster := r.follow(ctx, statuses, message), r.follow(ctx, clusters, message)
		err := post(ctx, job, []report.Checker{{Name: "checker-00", Status: kubeproberv1.CheckerError, Message: message}})
		if err != nil {
			return err
		}
		for _, sight := range []struct {
			seen    <-chan sighting
			samples *[]float64
		}{{inStatus, &toStatus}, {inCluster, &toCluster}} {
			seen := <-sight.seen
			if seen.err != nil {
				return fmt.Errorf("waiting for %q: %w", message, seen.err)
			}
			*sight.samples = append(*sight.samples, float64(seen.at.Sub(begin).Microseconds())/1000)
		}
	}
	r.summarize("report-to-probestatus-ms", toStatus)
	r.summarize("report-to-cluster-status-ms", toCluster)
	return nil
}

// openRun begins a run that does not end, of a Probe that already has a result.
func (r *rig) openRun(ctx context.Context) (*batchv1.Job, error) {
	probe := &kubeproberv1.Probe{}
	if err := r.managed.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: reporter}, probe); err != nil {
		return nil, fmt.Errorf("reading Probe %s: %w", reporter, err)
	}
	before := probe.DeepCopy()
	probe.Spec.Template.Containers[0].Image += "-next"
	if err := r.managed.client.Patch(ctx, probe, client.MergeFrom(before)); err != nil {
		return nil, fmt.Errorf("changing Probe %s: %w", reporter, err)
	}
	var job *batchv1.Job
	err := r.managed.watch(ctx, &batchv1.JobList{}, 1, func(object client.Object) (bool, error) {
		found, ok := object.(*batchv1.Job)
		if !ok || found.Spec.Template.Spec.Containers[0].Image != probe.Spec.Template.Containers[0].Image {
			return false, nil
		}
		job = found
		return true, nil
	}, client.MatchingLabels{kubeproberv1.ProbeLabel: reporter})
	if err != nil {
		return nil, err
	}
	_, err = r.cluster.startPod(ctx, job)
	return job, err
}

// sighting is when something was seen, or why it was not.
type sighting struct {
	at  time.Time
	err error
}

// follow reads a watch until an object shows a message.
func (r *rig) follow(ctx context.Context, watcher watch.Interface, message string) <-chan sighting {
	seen := make(chan sighting, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				seen <- sighting{err: ctx.Err()}
				return
			case event, open := <-watcher.ResultChan():
				if !open {
					seen <- sighting{err: fmt.Errorf("the watch has ended")}
					return
				}
				if event.Type == watch.Error {
					seen <- sighting{err: apierrors.FromObject(event.Object)}
					return
				}
				if shows(event, message) {
					seen <- sighting{at: time.Now()}
					return
				}
			}
		}
	}()
	return seen
}

// shows tells whether the result of the timed Probe has a message.
func shows(event watch.Event, message string) bool {
	switch object := event.Object.(type) {
	case *kubeproberv1.ProbeStatus:
		return slices.ContainsFunc(object.Status.Checkers, func(c kubeproberv1.CheckerResult) bool { return c.Message == message })
	case *kubeproberv1.Cluster:
		return slices.ContainsFunc(object.Status.Probes, func(p kubeproberv1.ClusterProbeStatus) bool {
			return p.Name == reporter && strings.HasSuffix(p.Message, message)
		})
	default:
		return false
	}
}

// summarize makes the median a figure, and prints the spread.
func (r *rig) summarize(name string, samples []float64) {
	slices.Sort(samples)
	median := samples[len(samples)/2]
	if len(samples)%2 == 0 {
		median = (samples[len(samples)/2-1] + median) / 2
	}
	fmt.Fprintf(r.out, "%s: %d reports, from %.1f to %.1f, median %.1f\n", name, len(samples), samples[0], samples[len(samples)-1], median)
	r.figure(name, median)
}
