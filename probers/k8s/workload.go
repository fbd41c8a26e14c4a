// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// workload is what the Deployment of the check looks like.
type workload struct {
	image          string
	deploymentName string
	serviceName    string
	replicas       int32
	containerPort  int32
	servicePort    int32
	requests       corev1.ResourceList
	limits         corev1.ResourceList
	tolerations    []corev1.Toleration
	nodeSelector   map[string]string
	timeout        time.Duration
	reapOff        bool
	podName        string
}

func readWorkload(env environ.Lookup) (workload, error) {
	s := newSettings(env)
	w := workload{
		image:          s.Text("CHECK_IMAGE", ""),
		deploymentName: s.dnsLabel("CHECK_DEPLOYMENT_NAME", "deployment-service-check"),
		serviceName:    s.dnsLabel("CHECK_SERVICE_NAME", "deployment-service-check"),
		replicas:       int32(s.Int("CHECK_DEPLOYMENT_REPLICAS", 2, 1, 1000)),
		containerPort:  int32(s.Int("CHECK_CONTAINER_PORT", 8080, 1, 65535)),
		servicePort:    int32(s.Int("CHECK_LOAD_BALANCER_PORT", 80, 1, 65535)),
		requests: corev1.ResourceList{
			corev1.ResourceCPU:    s.quantity("CHECK_POD_CPU_REQUEST", "15m"),
			corev1.ResourceMemory: s.quantity("CHECK_POD_MEM_REQUEST", "20Mi"),
		},
		limits: corev1.ResourceList{
			corev1.ResourceCPU:    s.quantity("CHECK_POD_CPU_LIMIT", "75m"),
			corev1.ResourceMemory: s.quantity("CHECK_POD_MEM_LIMIT", "100Mi"),
		},
		tolerations:  s.tolerations("CHECK_TOLERATION_ENVS"),
		nodeSelector: s.nodeSelector("CHECK_NODE_SELECTOR"),
		timeout:      s.timeout(),
		reapOff:      s.reapOff(),
		podName:      s.Text("POD_NAME", ""),
	}
	if err := s.Err(); err != nil {
		return w, err
	}
	for name, request := range w.requests {
		if limit := w.limits[name]; request.Cmp(limit) > 0 {
			return w, fmt.Errorf("the %s request %s of the check's pods is more than their limit %s", name, request.String(), limit.String())
		}
	}
	return w, nil
}

// checkImage is what the pods of the check run.
type checkImage struct {
	name        string
	pullPolicy  corev1.PullPolicy
	pullSecrets []corev1.LocalObjectReference
	// own tells that it is this very image, which answers with the name of the check.
	own bool
}

// checkImage finds the image to run: the one that was named, else the image of this pod, since that one is certain to be
// pullable, also where no registry of the internet can be reached.
func (c *deploymentCheck) checkImage(ctx context.Context) (checkImage, error) {
	name := c.config.podName
	if name == "" {
		hostname, err := os.Hostname()
		if err != nil {
			return checkImage{}, checker.NotChecked("finding the name of this pod: %w", err)
		}
		name = hostname
	}
	pod, err := c.pods().Get(ctx, name, metav1.GetOptions{})
	if c.config.image != "" {
		// The pod is then only wanted as the owner of what is created, which is a second way to have it removed.
		if err == nil {
			c.identity.owner = ownedBy(pod)
		}
		return checkImage{name: c.config.image}, nil
	}
	if err != nil {
		return checkImage{}, judge(err, "reading pod "+name+" to find the own image (CHECK_IMAGE names another one)")
	}
	c.identity.owner = ownedBy(pod)
	container := &pod.Spec.Containers[0]
	for i := range pod.Spec.Containers {
		if strings.Contains(pod.Spec.Containers[i].Image, "probe-k8s") {
			container = &pod.Spec.Containers[i]
			break
		}
	}
	return checkImage{
		name: container.Image, pullPolicy: container.ImagePullPolicy, pullSecrets: pod.Spec.ImagePullSecrets, own: true,
	}, nil
}

// deployment is the Deployment of the check; its pods meet the restricted pod security standard.
func (c *deploymentCheck) deployment(deadline time.Time, image checkImage) *appsv1.Deployment {
	labels := c.identity.podLabels()
	container := corev1.Container{
		Name:            "check",
		Image:           image.name,
		ImagePullPolicy: image.pullPolicy,
		Ports:           []corev1.ContainerPort{{Name: "http", ContainerPort: c.config.containerPort}},
		Resources:       corev1.ResourceRequirements{Requests: c.config.requests, Limits: c.config.limits},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}},
			PeriodSeconds: 1, FailureThreshold: 3, TimeoutSeconds: 5,
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if image.own {
		container.Args = []string{"serve", "--port", strconv.Itoa(int(c.config.containerPort)), "--answer", c.identity.instance}
		container.SecurityContext.ReadOnlyRootFilesystem = ptr.To(true)
	}
	meta := c.identity.meta(deadline)
	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas:             ptr.To(c.config.replicas),
			RevisionHistoryLimit: ptr.To[int32](0),
			Selector:             &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken:  ptr.To(false),
					EnableServiceLinks:            ptr.To(false),
					TerminationGracePeriodSeconds: ptr.To[int64](5),
					ImagePullSecrets:              image.pullSecrets,
					NodeSelector:                  c.config.nodeSelector,
					Tolerations:                   c.config.tolerations,
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot:   ptr.To(true),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{container},
				},
			},
		},
	}
}

func (c *deploymentCheck) serviceObject(deadline time.Time) *corev1.Service {
	meta := c.identity.meta(deadline)
	meta.Name = c.service
	return &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Selector: c.identity.podLabels(),
			Ports:    []corev1.ServicePort{{Name: "http", Port: c.config.servicePort, TargetPort: intstr.FromString("http")}},
		},
	}
}

func (c *deploymentCheck) deployments() appsv1client.DeploymentInterface {
	return c.cluster.apps.Deployments(c.identity.namespace)
}

func (c *deploymentCheck) services() corev1client.ServiceInterface {
	return c.cluster.core.Services(c.identity.namespace)
}

func (c *deploymentCheck) pods() corev1client.PodInterface {
	return c.cluster.core.Pods(c.identity.namespace)
}
