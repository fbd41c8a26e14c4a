// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/probers/checker"
)

func newDeploymentCheck(t *testing.T, config *rest.Config, set map[string]string) *deploymentCheck {
	t.Helper()
	made, err := NewDeploymentCheck(clusterFor(t, config), settingsOf(set))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := made.(*deploymentCheck)
	if !ok {
		t.Fatalf("it is a %T", made)
	}
	c.dial = service(t, c.identity.instance)
	return c
}

// left names the objects of the check that are in the cluster.
func (w *world) left(t *testing.T, checkerName string) []string {
	t.Helper()
	options := metav1.ListOptions{LabelSelector: CheckerLabel + "=" + checkerName}
	var names []string
	deployments, err := w.admin.AppsV1().Deployments("").List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deployments.Items {
		names = append(names, "Deployment "+d.Name)
	}
	services, err := w.admin.CoreV1().Services("").List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services.Items {
		names = append(names, "Service "+s.Name)
	}
	pods, err := w.admin.CoreV1().Pods("").List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		names = append(names, "Pod "+p.Name)
	}
	namespaces, err := w.admin.CoreV1().Namespaces().List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range namespaces.Items {
		names = append(names, "Namespace "+n.Name)
	}
	return names
}

func TestDeploymentCheckInAHealthyCluster(t *testing.T) {
	var seen *appsv1.Deployment
	theWorld.behave(t, func(w *world) {
		w.onDeployment = func(ctx context.Context, d *appsv1.Deployment) error {
			seen = d.DeepCopy()
			return w.ready(ctx, d)
		}
	})
	c := newDeploymentCheck(t, theWorld.worker, nil)
	var dialled []string
	answer := c.dial
	c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return answer(ctx, network, address)
	}
	status, message := c.Check(t.Context())
	if status != checker.Pass || !strings.HasPrefix(message, "2 of 2 replicas became available, answered 200 through the Service and were deleted") {
		t.Fatalf("got %s %s", status, message)
	}
	if left := theWorld.left(t, DeploymentChecker); len(left) > 0 || !c.clean.Load() {
		t.Errorf("left behind: %v", left)
	}
	if len(dialled) != 2 || strings.Contains(dialled[0], "svc") || dialled[1] != c.service+"."+testNamespace+".svc:80" {
		t.Errorf("dialled %v, want the address and the name", dialled)
	}
	container := seen.Spec.Template.Spec.Containers[0]
	if container.Image != ownImage || strings.Join(container.Args, " ") != "serve --port 8080 --answer "+c.identity.instance {
		t.Errorf("the pods run %s %v", container.Image, container.Args)
	}
	if seen.Spec.Template.Spec.ImagePullSecrets[0].Name != "mirror" {
		t.Errorf("pull secrets are %v", seen.Spec.Template.Spec.ImagePullSecrets)
	}
	if len(seen.OwnerReferences) != 1 || seen.OwnerReferences[0].Name != ownPod {
		t.Errorf("owned by %v, want the pod of the run", seen.OwnerReferences)
	}
	if seen.Labels[kubeproberv1.RunIDLabel] != "1630566675" || seen.Spec.Template.Labels[kubeproberv1.RunIDLabel] != "" {
		t.Errorf("labels %v, of the pods %v", seen.Labels, seen.Spec.Template.Labels)
	}
}

func TestDeploymentCheckFollowsItsEnvironment(t *testing.T) {
	var seen *appsv1.Deployment
	theWorld.behave(t, func(w *world) {
		w.onDeployment = func(ctx context.Context, d *appsv1.Deployment) error {
			seen = d.DeepCopy()
			return w.ready(ctx, d)
		}
	})
	c := newDeploymentCheck(t, theWorld.worker, map[string]string{
		"CHECK_IMAGE": "nginxinc/nginx-unprivileged:1.17.8", "CHECK_DEPLOYMENT_NAME": "web", "CHECK_SERVICE_NAME": "front",
		"CHECK_DEPLOYMENT_REPLICAS": "3", "CHECK_CONTAINER_PORT": "8081", "CHECK_LOAD_BALANCER_PORT": "8000",
		"CHECK_POD_CPU_REQUEST": "1m", "CHECK_POD_CPU_LIMIT": "2m", "CHECK_POD_MEM_REQUEST": "3Mi", "CHECK_POD_MEM_LIMIT": "4Mi",
		"CHECK_TOLERATION_ENVS": "dedicated=infra:NoSchedule,spot:NoExecute,any", "CHECK_NODE_SELECTOR": "disk=ssd,zone=a",
		"POD_NAME": "not-there",
	})
	c.dial = service(t, "anything that answers 200")
	if status, message := c.Check(t.Context()); status != checker.Pass {
		t.Fatalf("got %s %s", status, message)
	}
	spec := seen.Spec.Template.Spec
	container := spec.Containers[0]
	if container.Image != "nginxinc/nginx-unprivileged:1.17.8" || container.Args != nil || container.Ports[0].ContainerPort != 8081 {
		t.Errorf("the pods run %+v", container)
	}
	if *seen.Spec.Replicas != 3 || !strings.HasPrefix(seen.Name, "web-") || !strings.HasPrefix(c.service, "front-") || len(seen.OwnerReferences) != 0 {
		t.Errorf("%s with %d replicas behind %s, owned by %v", seen.Name, *seen.Spec.Replicas, c.service, seen.OwnerReferences)
	}
	for got, want := range map[*resource.Quantity]string{
		container.Resources.Requests.Cpu(): "1m", container.Resources.Limits.Cpu(): "2m",
		container.Resources.Requests.Memory(): "3Mi", container.Resources.Limits.Memory(): "4Mi",
	} {
		if got.String() != want {
			t.Errorf("a resource is %s, want %s", got, want)
		}
	}
	want := []corev1.Toleration{
		{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "infra", Effect: corev1.TaintEffectNoSchedule},
		{Key: "spot", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: "any", Operator: corev1.TolerationOpExists},
	}
	if fmt.Sprint(spec.Tolerations[:3]) != fmt.Sprint(want) || fmt.Sprint(spec.NodeSelector) != "map[disk:ssd zone:a]" {
		t.Errorf("tolerations %v, node selector %v", spec.Tolerations, spec.NodeSelector)
	}
}

func TestDeploymentCheckJudgesWhatGoesWrong(t *testing.T) {
	refused := func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, errors.New("connection refused") }
	tests := map[string]struct {
		config  *rest.Config
		set     map[string]string
		timeout time.Duration
		world   func(w *world)
		dial    func(c *deploymentCheck) dialFunc
		status  checker.Status
		says    []string
		keeps   bool
	}{
		"a crash of the pods is ERROR with the reason": {
			set:    map[string]string{"CHECK_TIMEOUT": "3s"},
			world:  func(w *world) { w.onDeployment = w.stuck(waiting("CrashLoopBackOff", "back-off 10s restarting")) },
			status: checker.Error, says: []string{"the 2 replicas of the check did not become available", "CrashLoopBackOff: back-off 10s restarting"},
		},
		"pods that nobody makes are ERROR": {
			set:    map[string]string{"CHECK_TIMEOUT": "3s"},
			world:  func(w *world) { w.onDeployment = nil },
			status: checker.Error, says: []string{"did not become available within"},
		},
		"pods that find no node are ERROR with the reason": {
			set: map[string]string{"CHECK_TIMEOUT": "3s"},
			world: func(w *world) {
				w.onDeployment = w.stuck(corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
					{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"},
				}})
			},
			status: checker.Error, says: []string{"Unschedulable: 0/3 nodes are available"},
		},
		"a run too short to judge is UNKNOWN": {
			set: map[string]string{"CHECK_TIMEOUT": "15m"}, timeout: 3 * time.Second,
			world:  func(w *world) { w.onDeployment = nil },
			status: checker.Unknown, says: []string{"too short to judge", "timeoutSeconds"},
		},
		"an image that cannot be pulled is UNKNOWN": {
			set:    map[string]string{"CHECK_TIMEOUT": "3s", "CHECK_IMAGE": "example.com/gone:1"},
			world:  func(w *world) { w.onDeployment = w.stuck(waiting("ImagePullBackOff", "Back-off pulling image")) },
			status: checker.Unknown, says: []string{"the pods of the check cannot be started", "ImagePullBackOff"},
		},
		"pods that wait for an image and do not go are still UNKNOWN": {
			set: map[string]string{"CHECK_TIMEOUT": "4s", "CHECK_IMAGE": "example.com/gone:1"},
			world: func(w *world) {
				w.onDeployment, w.keepPods = w.stuck(waiting("ErrImagePull", "no route to host")), true
			},
			status: checker.Unknown, says: []string{"ErrImagePull: no route to host", "is not gone within"}, keeps: true,
		},
		"an image name that can never work is UNKNOWN at once": {
			set:    map[string]string{"CHECK_TIMEOUT": "15m", "CHECK_IMAGE": "Example.com/UPPER"},
			world:  func(w *world) { w.onDeployment = w.stuck(waiting("InvalidImageName", "couldn't parse image name")) },
			status: checker.Unknown, says: []string{"InvalidImageName: couldn't parse image name"},
		},
		"a quota that forbids the pods is UNKNOWN at once": {
			set: map[string]string{"CHECK_TIMEOUT": "15m"},
			world: func(w *world) {
				w.onDeployment = func(ctx context.Context, d *appsv1.Deployment) error {
					return w.setStatus(ctx, d, appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{{
						Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate",
						Message: `pods "x" is forbidden: exceeded quota: all`,
					}}})
				}
			},
			status: checker.Unknown, says: []string{"does not let the check make pods", "exceeded quota: all"},
		},
		"no permission is UNKNOWN with what to grant": {
			config: theWorld.nobody, set: map[string]string{"CHECK_IMAGE": "x"},
			status: checker.Unknown, says: []string{"creating a Deployment is not allowed; grant it", `cannot create resource "deployments"`},
		},
		"an own image that cannot be found out is UNKNOWN": {
			set: map[string]string{"POD_NAME": "not-there"}, status: checker.Unknown, says: []string{"pod not-there", "CHECK_IMAGE"},
		},
		"a Service that does not answer is ERROR": {
			set:    map[string]string{"CHECK_TIMEOUT": "100s"},
			dial:   func(*deploymentCheck) dialFunc { return refused },
			status: checker.Error, says: []string{"the replicas are available, but Service", "connection refused"},
		},
		"a Service that leads elsewhere is ERROR": {
			set:    map[string]string{"CHECK_TIMEOUT": "100s"},
			dial:   func(*deploymentCheck) dialFunc { return service(t, "somebody else") },
			status: checker.Error, says: []string{"something else answers at http://"},
		},
		"a Service whose name does not resolve is ERROR": {
			set: map[string]string{"CHECK_TIMEOUT": "100s"},
			dial: func(c *deploymentCheck) dialFunc {
				return func(ctx context.Context, network, address string) (net.Conn, error) {
					if strings.Contains(address, ".svc") {
						return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
					}
					return service(t, c.identity.instance)(ctx, network, address)
				}
			},
			status: checker.Error, says: []string{"answers by its address, but not by its name", "no such host"},
		},
		"pods that do not go are ERROR": {
			set:    map[string]string{"CHECK_TIMEOUT": "4s"},
			world:  func(w *world) { w.keepPods = true },
			status: checker.Error, says: []string{"of a deleted Deployment is not gone within"}, keeps: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			theWorld.behave(t, test.world)
			if test.config == nil {
				test.config = theWorld.worker
			}
			c := newDeploymentCheck(t, test.config, test.set)
			if test.dial != nil {
				c.dial = test.dial(c)
				c.askTime = 2 * time.Second
			}
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			started := time.Now()
			status, message := c.Check(ctx)
			if status != test.status {
				t.Errorf("got %s %s, want %s", status, message, test.status)
			}
			for _, want := range test.says {
				if !strings.Contains(message, want) {
					t.Errorf("the message lacks %q: %s", want, message)
				}
			}
			if took := time.Since(started); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			left := theWorld.left(t, DeploymentChecker)
			if !test.keeps && len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if test.keeps {
				d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: c.identity.podLabels()}}}
				if err := theWorld.deletePods(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestCleanupRemovesWhatAStoppedCheckLeft(t *testing.T) {
	created := make(chan struct{})
	theWorld.behave(t, func(w *world) {
		w.onDeployment = func(context.Context, *appsv1.Deployment) error { close(created); return nil }
	})
	c := newDeploymentCheck(t, theWorld.worker, map[string]string{"CHECK_TIMEOUT": "15m"})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-created
		stop()
	}()
	status, message := c.Check(ctx)
	if status != checker.Unknown || !strings.Contains(message, "the run was stopped") {
		t.Errorf("got %s %s", status, message)
	}
	if len(theWorld.left(t, DeploymentChecker)) == 0 {
		t.Fatal("nothing was left: the test does not show what it should")
	}
	if err := c.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := theWorld.left(t, DeploymentChecker); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := c.Cleanup(t.Context()); err != nil {
		t.Errorf("cleaning up twice: %v", err)
	}
}

func TestLeftoversOfKilledChecksAreReaped(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("switched off: %t", off), func(t *testing.T) {
			theWorld.behave(t, nil)
			killed := newDeploymentCheck(t, theWorld.worker, map[string]string{"CHECK_IMAGE": "x"})
			alive := newDeploymentCheck(t, theWorld.worker, map[string]string{"CHECK_IMAGE": "x"})
			for check, deadline := range map[*deploymentCheck]time.Time{killed: time.Now().Add(-time.Minute), alive: time.Now().Add(time.Minute)} {
				if _, err := check.deployments().Create(t.Context(), check.deployment(deadline, checkImage{name: "x"}), metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				if _, err := check.services().Create(t.Context(), check.serviceObject(deadline), metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				check.clean.Store(false)
				t.Cleanup(func() {
					if err := check.Cleanup(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				})
			}
			c := newDeploymentCheck(t, theWorld.worker, map[string]string{"RESOURCE_AUTO_REAP": fmt.Sprint(!off)})
			status, message := c.Check(t.Context())
			want := "2 Deployments and Services that earlier checks left were removed"
			if off {
				want = "earlier checks left 2 Deployments and Services, and RESOURCE_AUTO_REAP is false"
			}
			if status != checker.Pass || !strings.Contains(message, want) {
				t.Errorf("got %s %s, want %q", status, message, want)
			}
			left := strings.Join(theWorld.left(t, DeploymentChecker), " ")
			if strings.Contains(left, killed.identity.instance) != off || !strings.Contains(left, alive.identity.instance) {
				t.Errorf("left are %s; killed is %s, alive is %s", left, killed.identity.instance, alive.identity.instance)
			}
		})
	}
}
