// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

// insecure does not know the authority that the master issues to itself.
func insecure() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
}

// awaitTrust waits until the API server knows the authority of the certificate that the master serves with.
func awaitTrust(ctx context.Context) {
	GinkgoHelper()
	d, err := discovery.NewDiscoveryClientForConfig(plane.Config)
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error {
		_, err := d.ServerResourcesForGroupVersion("proxy.kubeprober.erda.cloud/v1")
		return err
	}).Should(Succeed())
	// The API server lets pass what the webhook cannot judge: nothing may be left of that.
	zone, schedule := "Europe/Atlantis", "0 * * * *"
	probe := testenv.Probe("default", "trusted")
	probe.Spec.Policy = kubeproberv1.ProbePolicy{Schedule: &schedule, TimeZone: &zone}
	Eventually(func() error { return plane.Client.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("must be an IANA name")))
}

var _ = Describe("certificates", func() {
	apiService := func(ctx context.Context) (*unstructured.Unstructured, error) {
		service := &unstructured.Unstructured{}
		service.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
		err := plane.Client.Get(ctx, types.NamespacedName{Name: apiServiceName}, service)
		return service, err
	}
	authority := func(ctx context.Context) ([]byte, error) {
		secret := &corev1.Secret{}
		err := plane.Client.Get(ctx, types.NamespacedName{Namespace: "kubeprober", Name: options.CertSecret}, secret)
		return secret.Data["ca.crt"], client.IgnoreNotFound(err)
	}
	It("are issued by the master and trusted by the API server", func(ctx SpecContext) {
		Eventually(func() (string, error) {
			service, err := apiService(ctx)
			return fmt.Sprint(service.Object["status"]), err
		}).Should(And(ContainSubstring("status:True"), ContainSubstring("type:Available")))
	})

	It("are issued anew when their Secret is deleted", func(ctx SpecContext) {
		before, err := authority(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(plane.Client.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kubeprober", Name: options.CertSecret}})).To(Succeed())
		var after []byte
		Eventually(func() ([]byte, error) {
			var err error
			after, err = authority(ctx)
			return after, err
		}).Should(And(Not(BeEmpty()), Not(Equal(before))))
		Eventually(func() (string, error) {
			service, err := apiService(ctx)
			bundle, _, _ := unstructured.NestedString(service.Object, "spec", "caBundle")
			return bundle, err
		}).Should(Equal(base64.StdEncoding.EncodeToString(after)))
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM(after)).To(BeTrue())
		for _, address := range []string{options.GatewayAddress, net.JoinHostPort("127.0.0.1", fmt.Sprint(options.WebhookPort))} {
			Eventually(func() error {
				conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "probe-master-api.kubeprober.svc"})
				if err != nil {
					return err
				}
				return conn.Close()
			}).Should(Succeed())
		}
		awaitTrust(ctx)
	})
})

var _ = Describe("the metrics server", func() {
	for _, path := range []string{"/metrics", tunnelsPath} {
		It("shows "+path+" to those who may read it", func(ctx SpecContext) {
			at := "https://" + options.MetricsAddress + path
			code, _, err := fetch(ctx, insecure(), http.MethodGet, at, "", nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(code).To(Equal(http.StatusUnauthorized))
			code, _, err = fetch(ctx, insecure(), http.MethodGet, at, tokenOf(ctx, "default", "nobody"), nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(code).To(Equal(http.StatusForbidden))
		})
	}

	It("shows the tunnels, what was refused, and connections that say nothing", func(ctx SpecContext) {
		name := metav1.ObjectMeta{Name: "observer"}
		Expect(plane.Client.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{
			NonResourceURLs: []string{"/metrics", tunnelsPath}, Verbs: []string{"get"},
		}}})).To(Succeed())
		Expect(plane.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name.Name}},
		})).To(Succeed())
		token := tokenOf(ctx, "default", name.Name)
		silent, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(hubURL, "http://"))
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = silent.Close() }()
		Eventually(func() (string, error) {
			_, body, err := fetch(ctx, insecure(), http.MethodGet, "https://"+options.MetricsAddress+"/metrics", token, nil)
			return body, err
		}).Should(ContainSubstring("kubeprober_tunnel_unauthenticated_connections 1\n"))
		for path, want := range map[string]string{
			"/metrics": "kubeprober_tunnel_tunnels ", "/metrics?": "kubeprober_clusters_refused_total ", tunnelsPath: `"tunnels":`,
		} {
			Eventually(func() (string, error) {
				_, body, err := fetch(ctx, insecure(), http.MethodGet, "https://"+options.MetricsAddress+path, token, nil)
				return body, err
			}).Should(ContainSubstring(want))
		}
	})
})

var _ = Describe("the file of secrets", func() {
	It("is read again when it changes, and what it held stays valid for a while", func(ctx SpecContext) {
		former, err := os.ReadFile(options.SecretFile)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(os.WriteFile(options.SecretFile, former, 0o600)).To(Succeed()) })
		managed := &testenv.Managed{Name: "rotating", UID: "rotating-uid", Namespace: "kubeprober"}
		beat := func(secret string) (int, error) {
			code, _, err := managed.Post(ctx, hubURL, secret, []byte(`{"probeNamespace":"kubeprober"}`))
			return code, err
		}
		Expect(beat("battery-staple")).To(Equal(http.StatusUnauthorized))
		Expect(os.WriteFile(options.SecretFile, []byte("battery-staple\n"), 0o600)).To(Succeed())
		Eventually(beat).WithArguments("battery-staple").Should(Equal(http.StatusNoContent))
		Expect(beat(testenv.Secret)).To(Equal(http.StatusNoContent))
		Expect(beat("neither")).To(Equal(http.StatusUnauthorized))
	})
})

// replicaEnv makes the test's binary a replica of the master, with the flags of its command line.
const replicaEnv = "KUBEPROBER_TEST_REPLICA_KUBECONFIG"

// startReplica starts a further replica of the master as a process of its own.
func startReplica(ctx context.Context, hub, gateway, health string) *gexec.Session {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["c"] = &clientcmdapi.Cluster{Server: plane.Config.Host, CertificateAuthorityData: plane.Config.CAData}
	kubeconfig.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: tokenOf(ctx, "kubeprober", "probe-master")}
	kubeconfig.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	kubeconfig.CurrentContext = "x"
	file := filepath.Join(dir, "kubeconfig")
	Expect(clientcmd.WriteToFile(*kubeconfig, file)).To(Succeed())
	replica := exec.Command(os.Args[0], "--leader-elect", "--secret-key-file="+options.SecretFile, "--cert-dir="+filepath.Join(dir, "certs"),
		"--hub-bind-address="+hub, "--gateway-bind-address="+gateway, "--health-probe-bind-address="+health,
		"--metrics-bind-address=0", "--webhook-port="+strings.TrimPrefix(freeAddress(), "127.0.0.1:"))
	replica.Env = append(os.Environ(), replicaEnv+"="+file)
	session, err := gexec.Start(replica, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	return session
}

var _ = Describe("a replica that stands by", func() {
	It("serves discovery and no cluster, and ends well", func(ctx SpecContext) {
		hub, gateway, health := freeAddress(), freeAddress(), freeAddress()
		session := startReplica(ctx, hub, gateway, health)
		DeferCleanup(func() { session.Kill().Wait() })
		token := grant(ctx, "impatient", "", "get")
		group := "https://" + gateway + "/apis/proxy.kubeprober.erda.cloud/v1"
		Eventually(func() (string, error) {
			_, body, err := fetch(ctx, insecure(), http.MethodGet, group, token, nil)
			return body, err
		}).Should(ContainSubstring(`"clusters/proxy"`))

		request, err := http.NewRequestWithContext(ctx, http.MethodGet, group+"/clusters/anything/proxy/version", nil)
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := insecure().Do(request)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		Expect(response).To(HaveHTTPStatus(http.StatusServiceUnavailable))
		Expect(response).To(HaveHTTPHeaderWithValue("Retry-After", "1"))
		Expect(response).To(HaveHTTPBody(ContainSubstring("stands by")))

		Expect(status(ctx, "http://"+health+"/readyz", "")).NotTo(Equal(http.StatusOK))
		Expect(status(ctx, "http://"+health+"/healthz", "")).To(Equal(http.StatusOK))
		_, err = (&net.Dialer{}).DialContext(ctx, "tcp", hub)
		Expect(err).To(MatchError(syscall.ECONNREFUSED))
		Eventually(session.Terminate()).Should(gexec.Exit(0))
	})
})
