// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// Cluster is a kind cluster.
type Cluster struct {
	// Name is the name that kind knows.
	Name string
	// Kubeconfig is a file with the credentials of its administrator.
	Kubeconfig string
	// NodeIP is where other clusters and this machine reach its NodePorts.
	NodeIP string
	// Config has the credentials of its administrator.
	Config *rest.Config
	// Client reads and watches as its administrator.
	Client client.WithWatch

	workspace *Workspace
}

// Wanted is a cluster that a suite needs.
type Wanted struct {
	// Name is the name for kind.
	Name string
	// Images of the local engine that its nodes get.
	Images []string
	// Workers is how many nodes it has beside the control plane.
	Workers int
	// KindConfig is a file, relative to the root of the repository, whose lines are added to the configuration for kind; empty
	// for none.
	KindConfig string
}

// CreateClusters makes the clusters, all at once, in the order in which they are wanted. With Keep, one that an earlier
// run left is used as it is, but gets the images of now.
func (w *Workspace) CreateClusters(ctx context.Context, wanted ...Wanted) ([]*Cluster, error) {
	clusters := make([]*Cluster, len(wanted))
	failures := make([]error, len(wanted))
	var group sync.WaitGroup
	for i, want := range wanted {
		group.Go(func() { clusters[i], failures[i] = w.createCluster(ctx, want) })
	}
	group.Wait()
	return clusters, errors.Join(failures...)
}

// DeleteClusters removes the clusters unless they are to be kept.
func (w *Workspace) DeleteClusters(ctx context.Context, clusters ...*Cluster) error {
	if w.Keep {
		return nil
	}
	var names []string
	for _, c := range clusters {
		if c != nil {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return w.run(ctx, nil, "hack/kind/delete.sh", names...)
}

func (w *Workspace) createCluster(ctx context.Context, want Wanted) (*Cluster, error) {
	c := &Cluster{Name: want.Name, Kubeconfig: w.Bin("kind", want.Name+".kubeconfig"), workspace: w}
	if w.AsIs {
		return c, c.connect(ctx)
	}
	if w.Keep && c.answers(ctx) {
		if err := c.reset(ctx); err != nil {
			return c, err
		}
	} else if err := w.run(ctx, nil, "hack/kind/create.sh", want.arguments(w, c.Kubeconfig)...); err != nil {
		return c, err
	}
	if len(want.Images) > 0 {
		if err := w.run(ctx, nil, "hack/kind/load.sh", append([]string{want.Name}, want.Images...)...); err != nil {
			return c, err
		}
	}
	return c, c.connect(ctx)
}

func (want *Wanted) arguments(w *Workspace, kubeconfig string) []string {
	args := []string{want.Name, "--kubeconfig", kubeconfig, "--workers", strconv.Itoa(want.Workers)}
	if want.KindConfig != "" {
		args = append(args, "--config", filepath.Join(w.Root, want.KindConfig))
	}
	return args
}

// ControlPlane is the name of the node that every cluster has.
func (c *Cluster) ControlPlane() string { return c.Name + "-control-plane" }

// Worker is the name of the second node, of a cluster that has one.
func (c *Cluster) Worker() string { return c.Name + "-worker" }

// OnNode runs a command on a node and returns what it prints.
func (c *Cluster) OnNode(ctx context.Context, node string, args ...string) ([]byte, error) {
	out, err := c.workspace.output(ctx, "docker", append([]string{"exec", node}, args...)...)
	return []byte(out), err
}

// FreezeNode stops everything on a node at once, as if its power were cut: nothing there is told. It stays so until ThawNode.
func (c *Cluster) FreezeNode(ctx context.Context, node string) error {
	return c.workspace.run(ctx, nil, "docker", "pause", node)
}

// ThawNode lets a frozen node go on where it was.
func (c *Cluster) ThawNode(ctx context.Context, node string) error {
	return c.workspace.run(ctx, nil, "docker", "unpause", node)
}

// answers tells whether the cluster is there and usable.
func (c *Cluster) answers(ctx context.Context) bool {
	if !exists(c.Kubeconfig) {
		return false
	}
	_, err := c.Kubectl("get", "--raw", "/readyz", "--request-timeout", "5s").Output(ctx)
	return err == nil
}

// reset removes what an earlier run left in the cluster.
func (c *Cluster) reset(ctx context.Context) error {
	for _, app := range []string{"probe-agent", "probe-master"} {
		if err := c.workspace.Make(ctx, c, "undeploy", "APP="+app); err != nil {
			return fmt.Errorf("clearing cluster %s: %w", c.Name, err)
		}
	}
	return nil
}

func (c *Cluster) connect(ctx context.Context) error {
	ip, err := c.workspace.output(ctx, "hack/kind/internal-ip.sh", c.Name)
	if err != nil {
		return err
	}
	c.NodeIP = ip
	content, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig of cluster %s: %w", c.Name, err)
	}
	if c.Config, err = clientcmd.RESTConfigFromKubeConfig(content); err != nil {
		return fmt.Errorf("reading the kubeconfig of cluster %s: %w", c.Name, err)
	}
	// Nothing here is shared with users: waiting for a client-side limit would only blur what is measured.
	c.Config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), kubeproberv1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("registering types: %w", err)
	}
	if c.Client, err = client.NewWithWatch(c.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("making a client for cluster %s: %w", c.Name, err)
	}
	return nil
}
