// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/apis/heartbeat"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
	"github.com/kubeprober/kubeprober/tunnel/agent"
)

var _ = Describe("RBAC", func() {
	It("lets the master record core Events where its lease is, and only there", func(ctx SpecContext) {
		for namespace, want := range map[string]bool{"kubeprober": true, "default": false} {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:               "system:serviceaccount:kubeprober:probe-master",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "events"},
			}}
			Expect(plane.Client.Create(ctx, review)).To(Succeed())
			Expect(review.Status.Allowed).To(Equal(want), namespace)
		}
	})

	It("keeps editors of a namespace from the fleet: edit and admin do not include writing", func(ctx SpecContext) {
		role := &rbacv1.ClusterRole{}
		Expect(plane.Client.Get(ctx, types.NamespacedName{Name: "kubeprober-editor"}, role)).To(Succeed())
		for label := range role.Labels {
			Expect(label).NotTo(HavePrefix("rbac.authorization.k8s.io/aggregate-to-"))
		}
	})
})

var _ = Describe("webhooks", func() {
	edit := func(namespace, name string, f func(*kubeproberv1.Probe)) *kubeproberv1.Probe {
		probe := testenv.Probe(namespace, name)
		f(probe)
		return probe
	}
	schedule := func(expression, zone string) func(*kubeproberv1.Probe) {
		return func(p *kubeproberv1.Probe) {
			p.Spec.Policy = kubeproberv1.ProbePolicy{Schedule: &expression}
			if zone != "" {
				p.Spec.Policy.TimeZone = &zone
			}
		}
	}
	reserved := func(p *kubeproberv1.Probe) {
		p.Spec.Configs = []kubeproberv1.ProbeConfig{{Name: "own", Env: []corev1.EnvVar{{Name: "KUBEPROBER_RUN_ID", Value: "1"}}}}
	}

	DescribeTable("refuse Probes that could not run",
		func(ctx SpecContext, name string, f func(*kubeproberv1.Probe), text string) {
			Expect(plane.Client.Create(ctx, edit("default", name, f))).To(MatchError(ContainSubstring(text)))
		},
		Entry("a schedule that is no cron expression", "cron", schedule("61 * * * *", ""), "must be a cron expression"),
		Entry("a time zone that there is not", "zone", schedule("0 * * * *", "Europe/Atlantis"), "must be an IANA name"),
		Entry("the time zone of the node", "local", schedule("0 * * * *", "Local"), "must be an IANA name"),
		Entry("a variable of the agent", "env", reserved, "set by the agent"),
	)

	It("take a Probe that is right", func(ctx SpecContext) {
		probe := edit("default", "right", schedule("*/45 * * * *", "Europe/Berlin"))
		Expect(plane.Client.Create(ctx, probe)).To(Succeed())
		Expect(plane.Client.Delete(ctx, probe)).To(Succeed())
	})

	It("leave the Probes of other namespaces alone", func(ctx SpecContext) {
		probe := edit("kubeprober", "copy", reserved)
		Expect(plane.Client.Create(ctx, probe)).To(Succeed())
		Expect(plane.Client.Delete(ctx, probe)).To(Succeed())
	})

	It("refuse a ProbeRun that names no cluster", func(ctx SpecContext) {
		run := &kubeproberv1.ProbeRun{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "1"}}
		Expect(plane.Client.Create(ctx, run)).To(MatchError(ContainSubstring("name the Cluster to diagnose")))
	})

	It("refuse a ProbeRun that brings a spec of its own, from the start or later", func(ctx SpecContext) {
		spec := testenv.Probe("default", "smuggled").Spec
		run := &kubeproberv1.ProbeRun{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "2"},
			Spec:       kubeproberv1.ProbeRunSpec{ClusterName: "nowhere", Probes: []kubeproberv1.RunProbe{{Name: "smuggled", Spec: &spec}}},
		}
		Expect(plane.Client.Create(ctx, run)).To(MatchError(ContainSubstring("create a Probe and name it")))
		run.Spec.Probes[0].Spec = nil
		Expect(plane.Client.Create(ctx, run)).To(Succeed())
		before := run.DeepCopy()
		run.Spec.Probes[0].Spec = &spec
		Expect(plane.Client.Patch(ctx, run, client.MergeFrom(before))).To(MatchError(ContainSubstring("create a Probe and name it")))
		Expect(plane.Client.Delete(ctx, before)).To(Succeed())
	})

	It("refuse to delete an attached Probe, name the clusters and what to do", func(ctx SpecContext) {
		probe := testenv.Probe("default", "attached")
		Expect(plane.Client.Create(ctx, probe)).To(Succeed())
		for i := range 11 {
			Expect(plane.Client.Create(ctx, &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("fleet-%02d", i), Labels: map[string]string{"probe/attached": "true"},
			}})).To(Succeed())
		}
		Eventually(func() error { return plane.Client.Delete(ctx, probe, client.DryRunAll) }).Should(MatchError(And(
			ContainSubstring("attached to 11 cluster(s)"), ContainSubstring("fleet-00"), ContainSubstring("and 1 more"),
			ContainSubstring("kubectl label cluster -l probe/attached=true probe/attached-"))))
		Expect(plane.Client.DeleteAllOf(ctx, &kubeproberv1.Cluster{}, client.MatchingLabels{"probe/attached": "true"})).To(Succeed())
		Eventually(func() error { return plane.Client.Delete(ctx, probe) }).Should(Succeed())
	})
})

// target is a managed cluster's API server, with some paths that answer what no API server would.
func target() http.Handler {
	GinkgoHelper()
	api, err := agent.APIServer(plane.Config, logr.Discard())
	Expect(err).NotTo(HaveOccurred())
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc("/test/headers", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) })
	mux.HandleFunc("/test/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	})
	mux.HandleFunc("/test/echo", func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buffered.Flush()
		_, _ = io.Copy(conn, buffered)
	})
	return mux
}

// grant binds a new service account to clusters/proxy of one cluster, or of all, and returns its token.
func grant(ctx context.Context, account, cluster string, verbs ...string) string {
	GinkgoHelper()
	name := metav1.ObjectMeta{Name: account}
	var names []string
	if cluster != "" {
		names = []string{cluster}
	}
	Expect(plane.Client.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"proxy.kubeprober.erda.cloud"}, Resources: []string{"clusters/proxy"}, ResourceNames: names, Verbs: verbs,
	}}})).To(Succeed())
	Expect(plane.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: name,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: account}},
	})).To(Succeed())
	return tokenOf(ctx, "default", account)
}

// upgrade opens an upgraded connection and returns what comes back for a line, or the answer when there is no upgrade.
func upgrade(address string, secure *tls.Config, path, token string) (string, error) {
	var conn net.Conn
	var err error
	if secure != nil {
		conn, err = tls.Dial("tcp", address, secure)
	} else {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "echo")
	if err := request.Write(conn); err != nil {
		return "", err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return response.Status, response.Body.Close()
	}
	if _, err := io.WriteString(conn, "full duplex\n"); err != nil {
		return "", err
	}
	return reader.ReadString('\n')
}

var _ = Describe("the gateway", Ordered, func() {
	const cluster = "edge"
	var admin, reader, stranger string
	// A door is the URL before the path in the managed cluster, and how to get there.
	type door struct {
		url    func(cluster string) string
		client *http.Client
		secure *tls.Config
	}
	doors := map[string]*door{}

	BeforeAll(func(ctx SpecContext) {
		a, err := agent.New(agent.Options{
			HubURL: hubURL, Cluster: cluster, UID: "edge-uid", Version: "test", Target: target(), Log: logr.Discard(),
			Secret: func() ([]byte, error) { return []byte(testenv.Secret), nil },
		})
		Expect(err).NotTo(HaveOccurred())
		run, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan error, 1)
		go func() { ended <- a.Run(run) }()
		DeferCleanup(func() {
			cancel()
			Expect(<-ended).To(Succeed())
		})
		managed := &testenv.Managed{Name: cluster, UID: "edge-uid", Namespace: "kubeprober"}
		code, text, err := managed.Beat(ctx, hubURL, heartbeat.Heartbeat{})
		Expect(err).NotTo(HaveOccurred())
		Expect(code).To(Equal(http.StatusNoContent), text)
		Eventually(func() (bool, error) {
			c := &kubeproberv1.Cluster{}
			err := plane.Client.Get(ctx, types.NamespacedName{Name: cluster}, c)
			return meta.IsStatusConditionTrue(c.Status.Conditions, kubeproberv1.ClusterConnectedCondition), client.IgnoreNotFound(err)
		}).Should(BeTrue())
		Expect(plane.Client.Create(ctx, &kubeproberv1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "away"}})).To(Succeed())

		admin = grant(ctx, "operator", "", "get", "create", "update", "patch", "delete")
		reader = grant(ctx, "reader", cluster, "get")
		stranger = tokenOf(ctx, "default", "stranger")

		secure, err := rest.TLSConfigFor(rest.AnonymousClientConfig(plane.Config))
		Expect(err).NotTo(HaveOccurred())
		doors["aggregated"] = &door{
			url: func(c string) string {
				return strings.TrimSuffix(plane.Config.Host, "/") + "/apis/proxy.kubeprober.erda.cloud/v1/clusters/" + c + "/proxy"
			},
			client: &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}, secure: secure,
		}
		doors["direct"] = &door{url: func(c string) string { return hubURL + "/clusters/" + c + "/proxy" }, client: http.DefaultClient}
		Eventually(func() (int, error) {
			code, _, err := fetch(ctx, doors["aggregated"].client, http.MethodGet, doors["aggregated"].url(cluster)+"/version", admin, nil)
			return code, err
		}).Should(Equal(http.StatusOK))
	})

	for _, name := range []string{"aggregated", "direct"} {
		get := func(ctx context.Context, cluster, path, token string, header http.Header) (int, string) {
			GinkgoHelper()
			code, body, err := fetch(ctx, doors[name].client, http.MethodGet, doors[name].url(cluster)+path, token, header)
			Expect(err).NotTo(HaveOccurred())
			return code, body
		}

		It("reads, writes and watches through the "+name+" door", func(ctx SpecContext) {
			d := doors[name]
			config := &rest.Config{Host: d.url(cluster), BearerToken: admin}
			if d.secure != nil {
				config.CAData = plane.Config.CAData
			}
			set, err := kubernetes.NewForConfig(config)
			Expect(err).NotTo(HaveOccurred())
			watch, err := set.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			Expect(err).NotTo(HaveOccurred())
			defer watch.Stop()
			_, err = set.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			Expect(err).NotTo(HaveOccurred())
			Eventually(watch.ResultChan()).Should(Receive(HaveField("Object.Name", name)))
			Expect(set.CoreV1().ConfigMaps("default").Delete(ctx, name, metav1.DeleteOptions{})).To(Succeed())
		})

		It("carries full-duplex streams through the "+name+" door, for those who may create", func() {
			d := doors[name]
			u, err := url.Parse(d.url(cluster) + "/test/echo")
			Expect(err).NotTo(HaveOccurred())
			Expect(upgrade(u.Host, d.secure, u.Path, admin)).To(Equal("full duplex\n"))
			Expect(upgrade(u.Host, d.secure, u.Path, reader)).To(ContainSubstring("403"))
		})

		It("asks RBAC at the "+name+" door", func(ctx SpecContext) {
			code, body := get(ctx, cluster, "/api/v1/namespaces", stranger, nil)
			Expect(code).To(Equal(http.StatusForbidden))
			Expect(body).To(ContainSubstring(`clusters.proxy.kubeprober.erda.cloud \"edge\" is forbidden`))
			code, _ = get(ctx, cluster, "/api/v1/namespaces", reader, nil)
			Expect(code).To(Equal(http.StatusOK))
			code, _ = get(ctx, "away", "/api/v1/namespaces", reader, nil)
			Expect(code).To(Equal(http.StatusForbidden))
			code, _ = get(ctx, cluster, "/api/v1/namespaces", "not-a-token", nil)
			Expect(code).To(Equal(http.StatusUnauthorized))
		})

		It("says what is wrong with a cluster at the "+name+" door", func(ctx SpecContext) {
			code, body := get(ctx, "nowhere", "/version", admin, nil)
			Expect(code).To(Equal(http.StatusNotFound))
			Expect(body).To(ContainSubstring("kubectl get clusters"))
			code, body = get(ctx, "away", "/version", admin, nil)
			Expect(code).To(Equal(http.StatusServiceUnavailable))
			Expect(body).To(And(ContainSubstring("not connected"), ContainSubstring("kubectl describe cluster away")))
			code, _ = get(ctx, cluster, "/test/redirect", admin, nil)
			Expect(code).To(Equal(http.StatusBadGateway))
		})

		It("lets no credential and no identity through the "+name+" door", func(ctx SpecContext) {
			header := http.Header{"Cookie": {"session=1"}, "X-Remote-User": {"root"}, "X-Remote-Group": {"system:masters"}, "X-Kept": {"yes"}}
			code, body := get(ctx, cluster, "/test/headers", admin, header)
			Expect(code).To(Equal(http.StatusOK))
			Expect(body).To(And(ContainSubstring("X-Kept"), Not(ContainSubstring("Bearer")), Not(ContainSubstring("session")), Not(ContainSubstring("X-Remote"))))
		})
	}

	It("does not impersonate at the direct door", func(ctx SpecContext) {
		code, body, err := fetch(ctx, http.DefaultClient, http.MethodGet, hubURL+"/clusters/edge/proxy/version", admin, http.Header{"Impersonate-User": {"root"}})
		Expect(err).NotTo(HaveOccurred())
		Expect(code).To(Equal(http.StatusBadRequest))
		Expect(body).To(ContainSubstring("impersonation"))
	})

	DescribeTable("refuses paths that could be read in two ways",
		func(ctx SpecContext, path string) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(hubURL, "http://"))
			Expect(err).NotTo(HaveOccurred())
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", path, admin)
			Expect(err).NotTo(HaveOccurred())
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.StatusCode).To(Equal(http.StatusBadRequest))
			Expect(response.Body.Close()).To(Succeed())
		},
		Entry("dots", "/clusters/edge/proxy/../../away/proxy/version"),
		Entry("escaped dots", "/clusters/edge/proxy/%2e%2e/away"),
		Entry("escaped slashes", "/clusters/edge%2fproxy/version"),
		Entry("empty segments", "/clusters/edge/proxy//api"),
	)

	It("is no second kind of clusters", func() {
		d, err := discovery.NewDiscoveryClientForConfig(plane.Config)
		Expect(err).NotTo(HaveOccurred())
		resources, err := d.ServerResourcesForGroupVersion("proxy.kubeprober.erda.cloud/v1")
		Expect(err).NotTo(HaveOccurred())
		Expect(resources.APIResources).To(ConsistOf(HaveField("Name", "clusters/proxy")))
	})

	It("serves kubectl as if the managed cluster were there", func(ctx SpecContext) {
		ca := filepath.Join(GinkgoT().TempDir(), "ca.crt")
		Expect(os.WriteFile(ca, plane.Config.CAData, 0o600)).To(Succeed())
		kubectl := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "--kubeconfig", "/dev/null",
			"--server", doors["aggregated"].url(cluster), "--certificate-authority", ca, "--token", admin, "get", "namespaces,probes.kubeprober.erda.cloud", "-o", "name")
		out, err := kubectl.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(string(out)).To(ContainSubstring("namespace/kube-system"))
	})
})
