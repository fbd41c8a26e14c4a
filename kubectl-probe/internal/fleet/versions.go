// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// maxVersion bounds a version or image of others, in characters.
const maxVersion = 256

// Component is a Deployment of Kubeprober in the cluster of the kubeconfig.
type Component struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// Agents counts the clusters whose agents have a version.
type Agents struct {
	Version  string `json:"version"`
	Clusters int    `json:"clusters"`
}

// Versions is what runs on the other side.
type Versions struct {
	// Components run in the cluster of the kubeconfig.
	Components []Component `json:"components,omitempty"`
	// Agents of the clusters that it manages, if it is a master.
	Agents []Agents `json:"agents,omitempty"`
}

// deployments is the part of a list of Deployments that tells versions. The kind itself would bring all of apps/v1 along.
type deployments struct {
	Items []struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Image string `json:"image"`
					} `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	} `json:"items"`
}

// Versions asks the cluster of the kubeconfig for the images of its own components and the versions of the agents that its
// Clusters tell of. It is an error when there are none.
func (f *Fleet) Versions(ctx context.Context) (*Versions, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	versions := &Versions{}
	var err error
	if versions.Components, err = f.components(ctx); err != nil {
		return nil, err
	}
	clusters, err := f.client.clusters(ctx)
	if err != nil {
		return versions, err
	}
	counts := map[string]int{}
	for i := range clusters {
		version := report.CleanText(clusters[i].Status.AgentVersion, maxVersion)
		if version == "" {
			version = "unknown"
		}
		counts[version]++
	}
	for version, count := range counts {
		versions.Agents = append(versions.Agents, Agents{Version: version, Clusters: count})
	}
	slices.SortFunc(versions.Agents, func(a, b Agents) int { return cmp.Compare(a.Version, b.Version) })
	if len(versions.Components) == 0 && len(versions.Agents) == 0 {
		return versions, exit.New(exit.General, "Kubeprober does not run in namespace %s of the current cluster", f.flags.Namespace()).
			Then(f.flags.Kubectl("get", "deployment", "-A", "-l", partOf))
	}
	return versions, nil
}

// partOf selects the components.
const partOf = "app.kubernetes.io/part-of=kubeprober"

func (f *Fleet) components(ctx context.Context) ([]Component, error) {
	what := call{verb: "list", resource: "deployments", namespace: f.flags.Namespace()}
	data, err := f.client.rest.Get().AbsPath("/apis/apps/v1/namespaces", what.namespace, "deployments").
		Param("labelSelector", partOf).Param("limit", fmt.Sprint(pageSize)).Do(ctx).Raw()
	if err != nil {
		return nil, f.client.wrap(ctx, what, err)
	}
	var found deployments
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("decoding deployments: %w", err)
	}
	var components []Component
	for _, item := range found.Items {
		if containers := item.Spec.Template.Spec.Containers; len(containers) > 0 {
			components = append(components, Component{Name: item.Metadata.Name, Image: report.CleanText(containers[0].Image, maxVersion)})
		}
	}
	return components, nil
}
