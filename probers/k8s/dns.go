// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubeprober/kubeprober/probers/checker"
	"github.com/kubeprober/kubeprober/probers/environ"
)

const (
	// DNSChecker is the name of the checker that resolves a name of the cluster.
	DNSChecker = "dns-resolution-check"
	// PublicDNSChecker is the name of the checker that resolves a name of the outside.
	PublicDNSChecker = "dns-resolution-public"

	// lookupTime bounds one lookup, with the retries of the resolver.
	lookupTime = 15 * time.Second
	// lookups is how often a name is looked up before it counts as not resolvable: a datagram may get lost.
	lookups = 3
	// maxServers bounds how many DNS pods are asked one by one, and maxAsking how many at once.
	maxServers, maxAsking = 200, 16
)

// resolver looks a name up; net.Resolver is one.
type resolver interface {
	LookupHost(ctx context.Context, name string) ([]string, error)
}

// dns is what both DNS checkers need.
type dns struct {
	private   string
	public    string
	namespace string
	selector  labels.Selector
	// chosen tells that the selector was set, not assumed.
	chosen  bool
	timeout time.Duration
	pods    func(ctx context.Context, namespace string, options metav1.ListOptions) (*corev1.PodList, error)
	// cluster is the resolver that pods of the cluster use.
	cluster resolver
	// at makes a resolver that asks one server only.
	at func(server string) resolver
}

// NewDNSChecks makes the checker that resolves PRIVATE_DOMAIN by the cluster's resolver and by each DNS pod and, when
// PUBLIC_DOMAIN is set, the one that resolves that.
func NewDNSChecks(cluster *Cluster, env environ.Lookup) ([]checker.Checker, error) {
	d, err := readDNS(cluster, env)
	return d.checkers(), err
}

func readDNS(cluster *Cluster, env environ.Lookup) (*dns, error) {
	s := newSettings(env)
	// The name that the walkthrough of the original gave to the label selector works like the one that its code read.
	variable := "DNS_LABEL_SELECTOR"
	if s.Text(variable, "") == "" {
		variable = "DNS_NODE_SELECTOR"
	}
	d := &dns{
		private:   s.Text("PRIVATE_DOMAIN", "kubernetes.default"),
		public:    s.Text("PUBLIC_DOMAIN", ""),
		namespace: s.Text("DNS_CHECK_NAMESPACE", metav1.NamespaceSystem),
		selector:  s.selector(variable, "k8s-app=kube-dns"),
		chosen:    s.Text(variable, "") != "",
		timeout:   s.timeout(),
		cluster:   &net.Resolver{PreferGo: true},
		at:        resolverAt,
	}
	d.pods = func(ctx context.Context, namespace string, options metav1.ListOptions) (*corev1.PodList, error) {
		return cluster.core.Pods(namespace).List(ctx, options)
	}
	return d, s.Err()
}

func (d *dns) checkers() []checker.Checker {
	checks := []checker.Checker{&dnsCheck{name: DNSChecker, limit: d.timeout, check: d.checkPrivate}}
	if d.public != "" {
		checks = append(checks, &dnsCheck{name: PublicDNSChecker, limit: d.timeout, check: d.checkPublic})
	}
	return checks
}

type dnsCheck struct {
	name  string
	limit time.Duration
	check func(ctx context.Context) (string, error)
}

func (c *dnsCheck) Name() string         { return c.name }
func (c *dnsCheck) Limit() time.Duration { return c.limit }

func (c *dnsCheck) Check(ctx context.Context) (checker.Status, string) {
	text, err := c.check(ctx)
	return checker.Verdict(err, text)
}

// server is a resolver that asks one server, whichever the configuration of the pod names; its search domains are used as
// they are.
type server struct {
	address  string
	resolver net.Resolver
}

func resolverAt(address string) resolver {
	return &server{address: address, resolver: net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
}

func (s *server) LookupHost(ctx context.Context, name string) ([]string, error) {
	addresses, err := s.resolver.LookupHost(ctx, name)
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.Server != "" {
		// The resolver believes that it asked the server of its configuration.
		failed.Server = s.address
	}
	return addresses, err
}

// resolve looks a name up, several times if need be.
func resolve(ctx context.Context, r resolver, name string) ([]string, error) {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.2, Steps: lookups}
	var addresses []string
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		addresses, last = r.LookupHost(ctx, name)
		return last == nil, nil
	})
	if err != nil && ctx.Err() != nil {
		return nil, judge(ctx.Err(), "resolving "+name)
	}
	return addresses, last
}

func (d *dns) checkPrivate(ctx context.Context) (string, error) {
	addresses, err := resolve(ctx, d.cluster, d.private)
	if hasVerdict(err) {
		return "", err
	}
	if err != nil {
		err = checker.Broken("%s does not resolve by the cluster's resolver: %w", d.private, err)
	}
	count, serversErr := d.checkServers(ctx)
	if err := errors.Join(err, serversErr); err != nil {
		return "", err
	}
	slices.Sort(addresses)
	return fmt.Sprintf("%s resolves to %s by the cluster's resolver and by each of %d DNS pods",
		d.private, strings.Join(addresses, ", "), count), nil
}

// checkServers asks each DNS pod by itself, so that one that answers wrongly is not hidden by the others.
func (d *dns) checkServers(ctx context.Context) (int, error) {
	list, err := d.pods(ctx, d.namespace, metav1.ListOptions{LabelSelector: d.selector.String(), Limit: maxServers})
	if err != nil {
		return 0, judge(err, "listing the DNS pods of namespace "+d.namespace)
	}
	if len(list.Items) == 0 {
		if !d.chosen {
			// Nobody said that there are such pods: a cluster may have its DNS elsewhere.
			return 0, nil
		}
		return 0, checker.NotChecked("no pod in namespace %s has the labels %s, so the DNS pods cannot be asked one by one",
			d.namespace, d.selector)
	}
	slots := make(chan struct{}, maxAsking)
	findings := make([]error, len(list.Items))
	var all sync.WaitGroup
	for i := range list.Items {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			findings[i] = d.checkServer(ctx, &list.Items[i])
		})
	}
	all.Wait()
	err = errors.Join(findings...)
	if list.Continue != "" {
		err = errors.Join(err, checker.Noticed("only the first %d DNS pods were asked", len(list.Items)))
	}
	return len(list.Items), err
}

func (d *dns) checkServer(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return nil
	}
	if !podReady(pod) || pod.Status.PodIP == "" {
		why, _ := reasons([]*corev1.Pod{pod})
		if why == "" {
			why = "pod " + pod.Name
		}
		return checker.Degraded("a DNS pod is not ready: %s", why)
	}
	address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(dnsPort(pod))))
	_, err := resolve(ctx, d.at(address), d.private)
	if err != nil && !hasVerdict(err) {
		return checker.Broken("%s does not resolve by DNS pod %s on node %s: %w", d.private, pod.Name, pod.Spec.NodeName, err)
	}
	return err
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// dnsPort is the port that the pod names for DNS, or 53.
func dnsPort(pod *corev1.Pod) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == "dns" || port.Name == "dns-udp" {
				return port.ContainerPort
			}
		}
	}
	return 53
}

// checkPublic resolves a name of the outside. That it does not resolve is a WARN: the cluster itself works, and a cluster
// without internet is no broken cluster. When the cluster's own DNS is at fault that is for the other checker to say.
func (d *dns) checkPublic(ctx context.Context) (string, error) {
	// The dot at the end keeps the search domains of the cluster out.
	name := strings.TrimSuffix(d.public, ".") + "."
	addresses, err := resolve(ctx, d.cluster, name)
	if err == nil {
		slices.Sort(addresses)
		return fmt.Sprintf("%s resolves to %s", d.public, strings.Join(addresses, ", ")), nil
	}
	if hasVerdict(err) {
		return "", err
	}
	if _, privateErr := resolve(ctx, d.cluster, d.private); privateErr != nil {
		return "", checker.NotChecked("the DNS of the cluster does not resolve its own names either (see %s): %w", DNSChecker, err)
	}
	var answer *net.DNSError
	if errors.As(err, &answer) && answer.IsNotFound {
		return "", checker.Degraded("%s does not exist for the DNS of the cluster, which resolves the cluster's own names: "+
			"check PUBLIC_DOMAIN and the upstream of the DNS", d.public)
	}
	return "", checker.Degraded("%s does not resolve: the DNS of the cluster resolves the cluster's own names but gets no "+
		"answer from its upstream. Without internet, remove PUBLIC_DOMAIN from the Probe: %w", d.public, err)
}
