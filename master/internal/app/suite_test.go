// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/kubeprober/kubeprober/master/internal/testenv"
)

// The suite runs the whole master with its real manifests and the rights of its real service account, behind an API
// server with an aggregation layer.
var (
	plane   *testenv.Plane
	options *Options
	hubURL  string
)

// TestMain also lets the binary be a replica of the master, for a test of several.
func TestMain(m *testing.M) {
	file := os.Getenv(replicaEnv)
	if file == "" {
		os.Exit(m.Run())
	}
	if err := runReplica(ctrl.SetupSignalHandler(), file, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runReplica(ctx context.Context, kubeconfig string, args []string) error {
	ctrl.SetLogger(zap.New())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	o := NewOptions()
	flags := pflag.NewFlagSet("replica", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := o.Complete(); err != nil {
		return err
	}
	return Run(ctx, config, o)
}

func TestMaster(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	RunSpecs(t, "master")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	dir := GinkgoT().TempDir()
	frontProxy(dir)
	var err error
	plane, err = testenv.StartPlane(func(server *envtest.APIServer) {
		server.Configure().
			Set("requestheader-client-ca-file", filepath.Join(dir, "ca.crt")).
			Set("requestheader-allowed-names", "front-proxy-client").
			Set("requestheader-username-headers", "X-Remote-User").
			Set("requestheader-group-headers", "X-Remote-Group").
			Set("requestheader-extra-headers-prefix", "X-Remote-Extra-").
			Set("proxy-client-cert-file", filepath.Join(dir, "proxy.crt")).
			Set("proxy-client-key-file", filepath.Join(dir, "proxy.key"))
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })

	secret := filepath.Join(dir, "secret")
	Expect(os.WriteFile(secret, []byte(testenv.Secret+"\n"), 0o600)).To(Succeed())
	options = NewOptions()
	hubAddress := freeAddress()
	hubURL = "http://" + hubAddress
	options.HubAddress, options.GatewayAddress = hubAddress, freeAddress()
	options.HealthAddress, options.MetricsAddress = freeAddress(), freeAddress()
	options.WebhookPort = portOf(freeAddress())
	options.SecretFile, options.CertDir = secret, filepath.Join(dir, "certs")
	options.LeaderElection = true
	Expect(options.Complete()).To(Succeed())

	applyManifests(ctx)
	config := rest.AnonymousClientConfig(plane.Config)
	config.BearerToken = tokenOf(ctx, "kubeprober", "probe-master")
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- Run(run, config, options) }()
	DeferCleanup(func() {
		cancel()
		Expect(<-ended).To(Succeed())
	})
	Eventually(func() (int, error) { return status(ctx, "http://"+options.HealthAddress+"/readyz", "") }).Should(Equal(http.StatusOK))
	awaitTrust(ctx)
})

// frontProxy makes what the API server proves itself with to extension API servers.
func frontProxy(dir string) {
	GinkgoHelper()
	write := func(name, kind string, der []byte) {
		Expect(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)).To(Succeed())
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front-proxy-ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	Expect(err).NotTo(HaveOccurred())
	write("ca.crt", "CERTIFICATE", der)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "front-proxy-client"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	Expect(err).NotTo(HaveOccurred())
	write("proxy.crt", "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	write("proxy.key", "PRIVATE KEY", der)
}

// freeAddress is an address on which nothing listens now.
func freeAddress() string {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(listener.Close()).To(Succeed()) }()
	return listener.Addr().String()
}

func portOf(address string) int {
	GinkgoHelper()
	_, port, err := net.SplitHostPort(address)
	Expect(err).NotTo(HaveOccurred())
	number, err := strconv.Atoi(port)
	Expect(err).NotTo(HaveOccurred())
	return number
}

// applyManifests applies what is deployed but the Deployment and the Secret of the certificate, which the master makes when
// it is missing. The Services lead to this process.
func applyManifests(ctx context.Context) {
	GinkgoHelper()
	config := filepath.Join("..", "..", "config")
	for _, file := range []string{
		"manager/namespace.yaml", "rbac/service_account.yaml", "rbac/role.yaml",
		"rbac/user_roles.yaml", "webhook/validating.yaml", "apiservice/apiservice.yaml",
	} {
		for _, object := range objects(filepath.Join(config, file)) {
			switch object.GetKind() {
			case "APIService":
				port := int64(portOf(options.GatewayAddress))
				Expect(unstructured.SetNestedField(object.Object, port, "spec", "service", "port")).To(Succeed())
			case "ValidatingWebhookConfiguration":
				hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
				Expect(err).NotTo(HaveOccurred())
				for _, hook := range hooks {
					Expect(unstructured.SetNestedField(hook.(map[string]any), int64(options.WebhookPort), "clientConfig", "service", "port")).To(Succeed())
				}
				Expect(unstructured.SetNestedSlice(object.Object, hooks, "webhooks")).To(Succeed())
			}
			Expect(plane.Client.Create(ctx, object)).To(Succeed(), object.GetName())
		}
	}
	for _, name := range []string{"probe-master-webhook", "probe-master-api"} {
		Expect(plane.Client.Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kubeprober", Name: name},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
		})).To(Succeed())
	}
}

func objects(file string) []*unstructured.Unstructured {
	GinkgoHelper()
	data, err := os.Open(file)
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(data.Close()).To(Succeed()) }()
	decoder := yaml.NewYAMLOrJSONDecoder(data, 4096)
	var found []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return found
		}
		Expect(err).NotTo(HaveOccurred())
		found = append(found, object)
	}
}

// tokenOf returns a token of a service account, which it makes when there is none.
func tokenOf(ctx context.Context, namespace, name string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	Expect(client.IgnoreAlreadyExists(plane.Client.Create(ctx, account))).To(Succeed())
	request := &authenticationv1.TokenRequest{}
	Expect(plane.Client.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}

// status is the code that a GET is answered with.
func status(ctx context.Context, url, token string) (int, error) {
	code, _, err := fetch(ctx, http.DefaultClient, http.MethodGet, url, token, nil)
	return code, err
}

func fetch(ctx context.Context, c *http.Client, method, url, token string, header http.Header) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, "", err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, string(body), nil
}
