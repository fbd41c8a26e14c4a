// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubeprober/kubeprober/probers/checker"
)

// nameserver is a DNS server on loopback. It knows private.test, and what public.test gets is set.
type nameserver struct {
	conn   net.PacketConn
	public dnsmessage.RCode

	lock sync.Mutex
	// drop is how many queries to leave unanswered first.
	drop int
	// private is what private.test gets.
	private dnsmessage.RCode
}

func newNameserver(t *testing.T, private, public dnsmessage.RCode) *nameserver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{conn: conn, private: private, public: public}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.serve(t)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return n
}

func (n *nameserver) serve(t *testing.T) {
	buffer := make([]byte, 4096)
	for {
		length, from, err := n.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("reading a query: %v", err)
			return
		}
		answer, err := n.answer(buffer[:length])
		if err != nil {
			t.Errorf("answering: %v", err)
			return
		}
		if answer != nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *nameserver) answer(query []byte) ([]byte, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.drop > 0 {
		n.drop--
		return nil, nil
	}
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	message.Response, message.Additionals = true, nil
	question := message.Questions[0]
	code := dnsmessage.RCodeNameError
	switch question.Name.String() {
	case "private.test.":
		code = n.private
	case "public.test.":
		code = n.public
	}
	message.RCode = code
	if code == dnsmessage.RCodeSuccess && question.Type == dnsmessage.TypeA {
		message.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 5},
			Body:   &dnsmessage.AResource{A: [4]byte{10, 96, 0, 1}},
		}}
	}
	return message.Pack()
}

// lose leaves so many of the next queries unanswered.
func (n *nameserver) lose(queries int) {
	n.lock.Lock()
	defer n.lock.Unlock()
	n.drop = queries
}

func (n *nameserver) resolver() resolver { return resolverAt(n.conn.LocalAddr().String()) }

// dnsPod is a DNS pod; its address is what the test's resolvers know it by.
func dnsPod(name, address string, ready bool) corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9153}, {Name: "dns", ContainerPort: 5353}},
		}}},
		Status: corev1.PodStatus{PodIP: address, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

func TestDNSChecksJudge(t *testing.T) {
	const ok, no, fail, refused = dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError, dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no rights"))
	tests := map[string]struct {
		private, public dnsmessage.RCode
		// pods are the DNS pods, and each is what it answers to the private name.
		pods      map[string]dnsmessage.RCode
		notReady  bool
		selector  string
		podsError error
		status    checker.Status
		says      string
		publicly  checker.Status
		publicSay string
	}{
		"all resolves": {
			private: ok, public: ok, pods: map[string]dnsmessage.RCode{"a": ok, "b": ok},
			status: checker.Pass, says: "private.test. resolves to 10.96.0.1 by the cluster's resolver and by each of 2 DNS pods",
			publicly: checker.Pass, publicSay: "public.test resolves to 10.96.0.1",
		},
		"the cluster's resolver does not know the name": {
			private: no, public: ok, pods: map[string]dnsmessage.RCode{"a": ok},
			status: checker.Error, says: "private.test. does not resolve by the cluster's resolver", publicly: checker.Pass,
		},
		"one of the DNS pods fails": {
			private: ok, public: ok, pods: map[string]dnsmessage.RCode{"a": ok, "b": fail},
			status: checker.Error, says: "private.test. does not resolve by DNS pod b on node node-1: lookup private.test. on 127.0.0.1:", publicly: checker.Pass,
		},
		"one of the DNS pods is not ready": {
			private: ok, public: ok, pods: map[string]dnsmessage.RCode{"a": ok}, notReady: true,
			status: checker.Warn, says: "a DNS pod is not ready: pod a", publicly: checker.Pass,
		},
		"the cluster has no internet": {
			private: ok, public: fail, pods: map[string]dnsmessage.RCode{"a": ok}, status: checker.Pass,
			publicly: checker.Warn, publicSay: "gets no answer from its upstream. Without internet, remove PUBLIC_DOMAIN",
		},
		"the upstream refuses": {
			private: ok, public: refused, pods: map[string]dnsmessage.RCode{"a": ok}, status: checker.Pass, publicly: checker.Warn,
		},
		"the public name does not exist": {
			private: ok, public: no, pods: map[string]dnsmessage.RCode{"a": ok}, status: checker.Pass,
			publicly: checker.Warn, publicSay: "public.test does not exist for the DNS of the cluster",
		},
		"nothing resolves": {
			private: fail, public: fail, pods: map[string]dnsmessage.RCode{"a": fail}, status: checker.Error,
			publicly: checker.Unknown, publicSay: "does not resolve its own names either (see dns-resolution-check)",
		},
		"the DNS pods may not be listed": {
			private: ok, public: ok, podsError: forbidden,
			status: checker.Unknown, says: "listing the DNS pods of namespace kube-system is not allowed", publicly: checker.Pass,
		},
		"what is broken counts more than what may not be listed": {
			private: no, public: ok, podsError: forbidden, status: checker.Error, says: "no rights", publicly: checker.Pass,
		},
		"no pod matches a selector that was set": {
			private: ok, public: ok, selector: "k8s-app=none",
			status: checker.Unknown, says: "no pod in namespace kube-system has the labels k8s-app=none", publicly: checker.Pass,
		},
		"no pod matches the default selector": {private: ok, public: ok, status: checker.Pass, says: "by each of 0 DNS pods", publicly: checker.Pass},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			checks, d := newDNSChecks(t, map[string]string{"DNS_NODE_SELECTOR": test.selector})
			d.cluster = newNameserver(t, test.private, test.public).resolver()
			servers := map[string]resolver{}
			list := &corev1.PodList{}
			for pod, code := range test.pods {
				list.Items = append(list.Items, dnsPod(pod, "10.0.0."+pod, !test.notReady))
				servers["10.0.0."+pod+":5353"] = newNameserver(t, code, test.public).resolver()
			}
			d.at = func(server string) resolver { return servers[server] }
			d.pods = func(context.Context, string, metav1.ListOptions) (*corev1.PodList, error) {
				return list, test.podsError
			}
			status, message := checks[0].Check(t.Context())
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("%s: got %s %s, want %s %s", checks[0].Name(), status, message, test.status, test.says)
			}
			status, message = checks[1].Check(t.Context())
			if status != test.publicly || !strings.Contains(message, test.publicSay) {
				t.Errorf("%s: got %s %s, want %s %s", checks[1].Name(), status, message, test.publicly, test.publicSay)
			}
		})
	}
}

// newDNSChecks makes both checkers for the names that a nameserver knows, and gives what they share.
func newDNSChecks(t *testing.T, set map[string]string) ([]checker.Checker, *dns) {
	t.Helper()
	names := map[string]string{"PRIVATE_DOMAIN": "private.test.", "PUBLIC_DOMAIN": "public.test"}
	for key, value := range set {
		names[key] = value
	}
	d, err := readDNS(clusterFor(t, theWorld.worker), settingsOf(names))
	if err != nil {
		t.Fatal(err)
	}
	return d.checkers(), d
}

func TestALostDatagramIsNoFinding(t *testing.T) {
	checks, d := newDNSChecks(t, nil)
	server := newNameserver(t, dnsmessage.RCodeSuccess, dnsmessage.RCodeSuccess)
	server.lose(2)
	d.cluster = server.resolver()
	if status, message := checks[0].Check(t.Context()); status != checker.Pass {
		t.Errorf("got %s %s", status, message)
	}
}

func TestAServerThatIsSilentIsWaitedForOnlySoLong(t *testing.T) {
	checks, d := newDNSChecks(t, nil)
	server := newNameserver(t, dnsmessage.RCodeSuccess, dnsmessage.RCodeSuccess)
	server.lose(1000)
	d.cluster = server.resolver()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	status, message := checks[0].Check(ctx)
	if status != checker.Unknown || !strings.Contains(message, "the time was up while resolving private.test") {
		t.Errorf("got %s %s", status, message)
	}
}

func TestThePublicNameIsCheckedOnlyWhenItIsSet(t *testing.T) {
	checks, err := NewDNSChecks(clusterFor(t, theWorld.worker), settingsOf(nil))
	if err != nil || len(checks) != 1 || checks[0].Name() != DNSChecker {
		t.Errorf("got %v, %v", checks, err)
	}
}

func TestTheWorkerMayListDNSPods(t *testing.T) {
	_, d := newDNSChecks(t, nil)
	if _, err := d.pods(t.Context(), metav1.NamespaceSystem, metav1.ListOptions{LabelSelector: d.selector.String()}); err != nil {
		t.Error(err)
	}
}
