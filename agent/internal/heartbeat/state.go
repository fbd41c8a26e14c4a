// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

const (
	// versionAge is how old the version of the API server may be before it is read again.
	versionAge = 10 * time.Minute
	// maxMessage bounds a message in a heartbeat, in characters, so that 256 of them stay far below its bound. The whole one
	// is read through the tunnel.
	maxMessage = 512
)

// Reader reads the state of the cluster from the cache.
type Reader struct {
	// Client reads from the cache.
	Client client.Reader
	// API reads the version of the API server.
	API rest.Interface
	// Namespace of the agent and its probes.
	Namespace string
	// AgentVersion and ExtraStatus are told as they are.
	AgentVersion string
	ExtraStatus  map[string]string
	Log          logr.Logger

	version     string
	versionRead time.Time
}

// NodeMetadata is the kind by which nodes are watched: they are counted, and their specs and status would fill the memory.
func NodeMetadata() *metav1.PartialObjectMetadata {
	node := &metav1.PartialObjectMetadata{}
	node.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Node"})
	return node
}

// Watch returns a channel that says when the state may have changed. It holds one value, so no change is lost and none blocks.
func Watch(ctx context.Context, informers cache.Informers) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(any, any) { notify() }, DeleteFunc: func(any) { notify() },
	}
	// Nodes write their status all the time; only their coming and going counts.
	nodes := toolscache.ResourceEventHandlerFuncs{AddFunc: handler.AddFunc, DeleteFunc: handler.DeleteFunc}
	kinds := map[client.Object]toolscache.ResourceEventHandler{
		&kubeproberv1.Probe{}: handler, &kubeproberv1.ProbeStatus{}: handler, &kubeproberv1.ProbeRun{}: handler, NodeMetadata(): nodes,
	}
	for kind, h := range kinds {
		informer, err := informers.GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("watching %T for heartbeats: %w", kind, err)
		}
		if _, err := informer.AddEventHandler(h); err != nil {
			return nil, fmt.Errorf("watching %T for heartbeats: %w", kind, err)
		}
	}
	return changed, nil
}

// State reads the whole state. It must not be called by two goroutines at once.
func (r *Reader) State(ctx context.Context) (*heartbeat.Heartbeat, error) {
	beat := &heartbeat.Heartbeat{
		K8sVersion: r.serverVersion(ctx), AgentVersion: r.AgentVersion, ProbeNamespace: r.Namespace, ExtraStatus: r.ExtraStatus,
	}
	nodes := &metav1.PartialObjectMetadataList{}
	nodes.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "NodeList"})
	if err := r.Client.List(ctx, nodes); err != nil {
		return nil, fmt.Errorf("counting nodes: %w", err)
	}
	beat.NodeCount = int32(min(len(nodes.Items), 1<<30))
	var err error
	if beat.Probes, err = r.probes(ctx); err != nil {
		return nil, err
	}
	if beat.Runs, err = r.runs(ctx); err != nil {
		return nil, err
	}
	return beat, nil
}

func (r *Reader) serverVersion(ctx context.Context) string {
	if time.Since(r.versionRead) < versionAge {
		return r.version
	}
	var info version.Info
	data, err := r.API.Get().AbsPath("/version").Do(ctx).Raw()
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		// The one that is known is better than no heartbeat.
		r.Log.Info("Version of the API server cannot be read", "reason", err.Error())
		return r.version
	}
	r.version, r.versionRead = info.GitVersion, time.Now()
	return r.version
}

func (r *Reader) probes(ctx context.Context) ([]kubeproberv1.ClusterProbeStatus, error) {
	probes := &kubeproberv1.ProbeList{}
	if err := r.Client.List(ctx, probes, client.InNamespace(r.Namespace)); err != nil {
		return nil, fmt.Errorf("listing Probes: %w", err)
	}
	statuses := &kubeproberv1.ProbeStatusList{}
	if err := r.Client.List(ctx, statuses, client.InNamespace(r.Namespace)); err != nil {
		return nil, fmt.Errorf("listing ProbeStatuses: %w", err)
	}
	outcomes := make(map[string]*kubeproberv1.ProbeStatus, len(statuses.Items))
	for i := range statuses.Items {
		outcomes[statuses.Items[i].Name] = &statuses.Items[i]
	}
	var summaries []kubeproberv1.ClusterProbeStatus
	for i := range probes.Items {
		probe := &probes.Items[i]
		if probe.DeletionTimestamp != nil {
			continue
		}
		summary := kubeproberv1.ClusterProbeStatus{Name: probe.Name}
		// One of an earlier Probe of that name says nothing of this one.
		if status := outcomes[probe.Name]; status != nil && metav1.IsControlledBy(status, probe) {
			summarize(&summary, &status.Status)
		}
		summaries = append(summaries, summary)
	}
	slices.SortFunc(summaries, func(a, b kubeproberv1.ClusterProbeStatus) int { return cmp.Compare(a.Name, b.Name) })
	if len(summaries) > heartbeat.MaxProbes {
		r.Log.Info("Leaving out probes of heartbeat", "probes", len(summaries), "most", heartbeat.MaxProbes)
		summaries = summaries[:heartbeat.MaxProbes]
	}
	return summaries, nil
}

func summarize(summary *kubeproberv1.ClusterProbeStatus, outcome *kubeproberv1.ProbeOutcome) {
	summary.Status, summary.LastRun, summary.LastReport, summary.StaleTime = outcome.Status, outcome.LastRun, outcome.LastReport, outcome.StaleTime
	summary.Message = report.CleanText(outcome.Message, maxMessage)
	for i := range outcome.Checkers {
		summary.Total++
		switch outcome.Checkers[i].Status {
		case kubeproberv1.CheckerError:
			summary.Error++
		case kubeproberv1.CheckerUnknown:
			summary.Unknown++
		default:
		}
	}
}

// runs tells of the one-time diagnoses that the master handed over, the newest first.
func (r *Reader) runs(ctx context.Context) ([]heartbeat.Run, error) {
	list := &kubeproberv1.ProbeRunList{}
	managed := client.MatchingLabels{kubeproberv1.ManagedByLabel: kubeproberv1.ManagedByMaster}
	if err := r.Client.List(ctx, list, client.InNamespace(r.Namespace), managed); err != nil {
		return nil, fmt.Errorf("listing ProbeRuns: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b kubeproberv1.ProbeRun) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var runs []heartbeat.Run
	for i := range list.Items[:min(len(list.Items), heartbeat.MaxRuns)] {
		one := &list.Items[i]
		runs = append(runs, heartbeat.Run{
			ID: one.Name, Phase: one.Status.Phase, ResourceVersion: one.ResourceVersion, FinishTime: one.Status.FinishTime,
		})
	}
	return runs, nil
}
