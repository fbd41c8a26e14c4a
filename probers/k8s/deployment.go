// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// DeploymentChecker is the name of the checker that creates a Deployment with a Service.
const DeploymentChecker = "deployment-service-checker"

// NewDeploymentCheck makes the checker that creates a Deployment and a Service, waits until all replicas are available,
// asks them through the Service, deletes both and waits until they and the pods are gone.
func NewDeploymentCheck(cluster *Cluster, env environ.Lookup) (checker.Cleaner, error) {
	config, err := readWorkload(env)
	c := &deploymentCheck{
		cluster:  cluster,
		config:   config,
		identity: newIdentity(env, DeploymentChecker, config.deploymentName),
		dial:     plainDial,
		askTime:  maxAskTime,
	}
	c.service = strings.Replace(c.identity.instance, config.deploymentName, config.serviceName, 1)
	c.clean.Store(true)
	return c, err
}

type deploymentCheck struct {
	cluster  *Cluster
	config   workload
	identity identity
	service  string
	dial     dialFunc
	askTime  time.Duration
	// clean is true while nothing of this check is in the cluster.
	clean atomic.Bool
}

func (c *deploymentCheck) Name() string         { return DeploymentChecker }
func (c *deploymentCheck) Limit() time.Duration { return c.config.timeout }

func (c *deploymentCheck) Check(ctx context.Context) (checker.Status, string) {
	started := time.Now()
	notes, err := c.check(ctx, newBudget(ctx, c.config.timeout))
	return checker.Verdict(err, fmt.Sprintf("%d of %d replicas became available, answered 200 through the Service and were deleted in %s%s",
		c.config.replicas, c.config.replicas, time.Since(started).Round(10*time.Millisecond), notes))
}

func (c *deploymentCheck) check(ctx context.Context, b budget) (notes string, err error) {
	notes = c.reap(ctx)
	err = c.work(ctx, b)
	if c.clean.Load() {
		return notes, err
	}
	return notes, afterwards(err, c.teardown(ctx, b))
}

func (c *deploymentCheck) work(ctx context.Context, b budget) error {
	ctx, cancel := b.work(ctx)
	defer cancel()
	image, err := c.checkImage(ctx)
	if err != nil {
		return err
	}
	service, err := c.create(ctx, b, image)
	if err != nil {
		return err
	}
	if err := c.awaitAvailable(ctx, b); err != nil {
		return err
	}
	return c.ask(ctx, service, image)
}

// create makes the Deployment and the Service.
func (c *deploymentCheck) create(ctx context.Context, b budget, image checkImage) (*corev1.Service, error) {
	c.clean.Store(false)
	_, err := c.deployments().Create(ctx, c.deployment(b.deadline, image), metav1.CreateOptions{})
	if err != nil {
		// Without an answer it may have been created all the same.
		c.clean.Store(isAnswer(err))
		return nil, judge(err, "creating a Deployment")
	}
	service, err := c.services().Create(ctx, c.serviceObject(b.deadline), metav1.CreateOptions{})
	if err != nil {
		return nil, judge(err, "creating a Service")
	}
	return service, nil
}

// awaitAvailable waits until all replicas are available. It ends early when the check image cannot be pulled: that will
// not change, and is no fault of the cluster.
func (c *deploymentCheck) awaitAvailable(ctx context.Context, b budget) error {
	started := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var hindered error
	var pods []*corev1.Pod
	var watching sync.WaitGroup
	watching.Go(func() {
		hindered = await(ctx, c.pods(), c.ofInstance(), func(objects map[types.UID]*corev1.Pod) (bool, error) {
			pods = pods[:0]
			for _, pod := range objects {
				pods = append(pods, pod)
			}
			return false, c.hindered(pods, started)
		})
		if hasVerdict(hindered) {
			cancel()
		}
	})
	err := await(ctx, c.deployments(), named(c.identity.instance), c.available)
	cancel()
	watching.Wait()
	switch {
	case err == nil:
		return nil
	case hasVerdict(hindered):
		return hindered
	}
	why, ofCheck := reasons(pods)
	if ofCheck && errors.Is(err, context.DeadlineExceeded) {
		return checker.NotChecked("the pods of the check cannot be started: %s", why)
	}
	what := fmt.Sprintf("the %d replicas of the check did not become available", c.config.replicas)
	if why != "" {
		what += " (" + why + ")"
	}
	return b.outcome(err, started, "waiting for a Deployment", what)
}

// patience is how long a pull that fails may go on failing: a registry may answer badly once.
const patience = time.Minute

func (c *deploymentCheck) hindered(pods []*corev1.Pod, started time.Time) error {
	for _, pod := range pods {
		h, ok := hindranceOf(pod)
		if ok && h.ofCheck && (h.final || time.Since(started) > patience) {
			return checker.NotChecked("the pods of the check cannot be started: pod %s: %s", pod.Name, h.text)
		}
	}
	return nil
}

// available is the condition that the one Deployment has all its replicas. It fails when the cluster refuses to make pods.
func (c *deploymentCheck) available(objects map[types.UID]*appsv1.Deployment) (bool, error) {
	for _, d := range objects {
		for _, condition := range d.Status.Conditions {
			refused := condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue
			if refused && strings.Contains(condition.Message, "is forbidden") {
				return false, checker.NotChecked("the cluster does not let the check make pods: %s", condition.Message)
			}
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= c.config.replicas, nil
	}
	return false, checker.NotChecked("somebody else deleted Deployment %s", c.identity.instance)
}

// teardown deletes what the check made and waits until it is gone.
func (c *deploymentCheck) teardown(ctx context.Context, b budget) error {
	ctx, cancel := context.WithDeadline(ctx, b.deadline)
	defer cancel()
	started := time.Now()
	if err := c.Cleanup(ctx); err != nil {
		return judge(err, "deleting a Deployment and its Service")
	}
	err := await(ctx, c.services(), named(c.service), gone[*corev1.Service])
	if err != nil {
		return b.outcome(err, started, "waiting for a Service to be gone", "Service "+c.service+" was deleted but is not gone")
	}
	err = await(ctx, c.deployments(), named(c.identity.instance), gone[*appsv1.Deployment])
	if err != nil {
		return b.outcome(err, started, "waiting for a Deployment to be gone",
			"Deployment "+c.identity.instance+" was deleted but is not gone")
	}
	var left string
	err = await(ctx, c.pods(), c.ofInstance(), func(objects map[types.UID]*corev1.Pod) (bool, error) {
		for _, pod := range objects {
			left = pod.Name
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return b.outcome(err, started, "waiting for pods to be gone", "pod "+left+" of a deleted Deployment is not gone")
	}
	c.clean.Store(true)
	return nil
}

// Cleanup deletes what the check made, when the check did not come to it.
func (c *deploymentCheck) Cleanup(ctx context.Context) error {
	if c.clean.Load() {
		return nil
	}
	return errors.Join(
		drop(ctx, c.services().Delete, c.service, nil),
		drop(ctx, c.deployments().Delete, c.identity.instance, nil),
	)
}

// reap removes what checks left that were killed, and says so.
func (c *deploymentCheck) reap(ctx context.Context) string {
	options := metav1.ListOptions{LabelSelector: CheckerLabel + "=" + DeploymentChecker, Limit: 500}
	const what = "Deployments and Services"
	deployments, err := c.deployments().List(ctx, options)
	if err != nil {
		return reapNote(what, 0, err, c.config.reapOff)
	}
	services, err := c.services().List(ctx, options)
	if err != nil {
		return reapNote(what, 0, err, c.config.reapOff)
	}
	n, err := reap(ctx, pointers(deployments.Items), c.deployments().Delete, c.config.reapOff)
	m, err2 := reap(ctx, pointers(services.Items), c.services().Delete, c.config.reapOff)
	return reapNote(what, n+m, errors.Join(err, err2), c.config.reapOff)
}

func (c *deploymentCheck) ofInstance() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: c.identity.selector()}
}
