// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/probers/environ"
)

// testNamespace is where the pod of the check runs, and ownPod is that pod.
const (
	testNamespace = "kubeprober"
	ownPod        = "k8s-run-1"
	ownImage      = "registry.example.com/kubeprober/probe-k8s:v0.1.5"
)

// world is a real API server, and what stands in for the controllers and kubelets that it lacks.
type world struct {
	admin  *kubernetes.Clientset
	worker *rest.Config
	nobody *rest.Config

	lock sync.Mutex
	// onDeployment is what the controllers make of a new Deployment.
	onDeployment func(ctx context.Context, d *appsv1.Deployment) error
	// keepNamespaces stops the namespace controller from removing deleted namespaces.
	keepNamespaces bool
	// noAccounts stops the controller that gives namespaces their default service account.
	noAccounts bool
	// keepPods leaves the pods of deleted Deployments.
	keepPods bool
}

var theWorld *world

func TestMain(m *testing.M) {
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	environment := &envtest.Environment{}
	config, err := environment.Start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "starting the API server: %v; KUBEBUILDER_ASSETS must name a folder with etcd and kube-apiserver (make test sets it)\n", err)
		return 1
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	theWorld = &world{admin: kubernetes.NewForConfigOrDie(config)}
	for name, into := range map[string]**rest.Config{"kubeprober-worker": &theWorld.worker, "nobody": &theWorld.nobody} {
		user, err := environment.AddUser(envtest.User{Name: name}, config)
		if err != nil {
			fmt.Fprintln(os.Stderr, "adding a user:", err)
			cancel()
			return 1
		}
		*into = user.Config()
	}
	var running sync.WaitGroup
	if err := theWorld.set(ctx, &running); err != nil {
		fmt.Fprintln(os.Stderr, "setting up the cluster:", err)
		cancel()
		return 1
	}
	code := m.Run()
	cancel()
	running.Wait()
	return code
}

// workerRules are what the checkers of this package need, and nothing else.
var workerRules = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"create", "list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"list", "watch"}},
}

var workerNamespaceRules = []rbacv1.PolicyRule{
	{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"create", "list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"create", "list", "watch", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}},
}

var workerDNSRules = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}

func (w *world) set(ctx context.Context, running *sync.WaitGroup) error {
	core, rbac := w.admin.CoreV1(), w.admin.RbacV1()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: testNamespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
	}}}
	if _, err := core.Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "kubeprober-worker"}}
	meta := metav1.ObjectMeta{Name: "kubeprober-worker"}
	_, err := rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: workerRules}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for in, rules := range map[string][]rbacv1.PolicyRule{testNamespace: workerNamespaceRules, metav1.NamespaceSystem: workerDNSRules} {
		if _, err := rbac.Roles(in).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err = rbac.RoleBindings(in).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	own := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: ownPod},
		Spec: corev1.PodSpec{
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "mirror"}},
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{restrictedContainer("sidecar", "example.com/sidecar:1"), restrictedContainer("k8s", ownImage)},
		},
	}
	if _, err := core.Pods(testNamespace).Create(ctx, own, metav1.CreateOptions{}); err != nil {
		return err
	}
	return w.startControllers(ctx, running)
}

func restrictedContainer(name, image string) corev1.Container {
	return corev1.Container{
		Name: name, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func (w *world) startControllers(ctx context.Context, running *sync.WaitGroup) error {
	namespaces, err := w.admin.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	deployments, err := w.admin.AppsV1().Deployments(testNamespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	react := func(events watch.Interface, to func(watch.Event) error) {
		running.Go(func() {
			for event := range events.ResultChan() {
				if err := to(event); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
					panic(fmt.Sprintf("the test's controller failed: %v", err))
				}
			}
		})
	}
	react(namespaces, func(event watch.Event) error { return w.namespaceEvent(ctx, event) })
	react(deployments, func(event watch.Event) error { return w.deploymentEvent(ctx, event) })
	return nil
}

func (w *world) namespaceEvent(ctx context.Context, event watch.Event) error {
	namespace, ok := event.Object.(*corev1.Namespace)
	if !ok || event.Type == watch.Deleted {
		return nil
	}
	w.lock.Lock()
	keep, noAccounts := w.keepNamespaces, w.noAccounts
	w.lock.Unlock()
	if namespace.DeletionTimestamp != nil {
		if keep {
			return nil
		}
		namespace.Spec.Finalizers = nil
		_, err := w.admin.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
		return err
	}
	if event.Type == watch.Added && !noAccounts {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		_, err := w.admin.CoreV1().ServiceAccounts(namespace.Name).Create(ctx, account, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) {
			return nil
		}
		return err
	}
	return nil
}

func (w *world) deploymentEvent(ctx context.Context, event watch.Event) error {
	d, ok := event.Object.(*appsv1.Deployment)
	if !ok {
		return errors.New("the watch sent something else")
	}
	w.lock.Lock()
	behave, keepPods := w.onDeployment, w.keepPods
	w.lock.Unlock()
	switch {
	case event.Type == watch.Added && behave != nil:
		return behave(ctx, d)
	case event.Type == watch.Deleted && !keepPods:
		return w.deletePods(ctx, d)
	}
	return nil
}

func (w *world) deletePods(ctx context.Context, d *appsv1.Deployment) error {
	return w.admin.CoreV1().Pods(testNamespace).DeleteCollection(ctx, metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: InstanceLabel + "=" + d.Spec.Selector.MatchLabels[InstanceLabel]})
}

// makePods does what the ReplicaSet controller and the kubelet do.
func (w *world) makePods(ctx context.Context, d *appsv1.Deployment, status corev1.PodStatus) error {
	for i := range *d.Spec.Replicas {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", d.Name, i), Labels: d.Spec.Template.Labels},
			Spec:       d.Spec.Template.Spec,
		}
		made, err := w.admin.CoreV1().Pods(testNamespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		made.Status = status
		if _, err := w.admin.CoreV1().Pods(testNamespace).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) setStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus) error {
	d = d.DeepCopy()
	d.Status = status
	_, err := w.admin.AppsV1().Deployments(testNamespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}

// ready is what a healthy cluster makes of a Deployment.
func (w *world) ready(ctx context.Context, d *appsv1.Deployment) error {
	running := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	if err := w.makePods(ctx, d, running); err != nil {
		return err
	}
	n := *d.Spec.Replicas
	return w.setStatus(ctx, d, appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: n, ReadyReplicas: n, AvailableReplicas: n,
	})
}

// stuck is a cluster that makes the pods of a Deployment, which get no further than the status.
func (w *world) stuck(status corev1.PodStatus) func(context.Context, *appsv1.Deployment) error {
	return func(ctx context.Context, d *appsv1.Deployment) error { return w.makePods(ctx, d, status) }
}

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "check", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}
}

// behave sets how the cluster behaves until the test ends, and cleans up after it.
func (w *world) behave(t *testing.T, change func(w *world)) {
	t.Helper()
	w.lock.Lock()
	defer w.lock.Unlock()
	w.onDeployment, w.keepNamespaces, w.noAccounts, w.keepPods = w.ready, false, false, false
	if change != nil {
		change(w)
	}
}

// settings is the environment of a pod of a run.
func settingsOf(set map[string]string) environ.Lookup {
	all := map[string]string{
		report.EnvProbeNamespace: testNamespace, report.EnvRunID: "1630566675", "POD_NAME": ownPod, "CHECK_TIMEOUT": "20s",
	}
	for name, value := range set {
		all[name] = value
	}
	return func(name string) string { return all[name] }
}

func clusterFor(t *testing.T, config *rest.Config) *Cluster {
	t.Helper()
	config = rest.CopyConfig(config)
	cluster, err := NewCluster(config)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// service runs what the pods of the check run, and gives a dialer that leads every address to it.
func service(t *testing.T, answer string) dialFunc {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, answer) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, listener.Addr().String())
	}
}
