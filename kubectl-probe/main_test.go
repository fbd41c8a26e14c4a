// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// asProgram makes the test binary behave as the plugin itself, so that the plugin is tested as a process, with -race.
const asProgram = "KUBECTL_PROBE_TEST_AS_PROGRAM"

// agentNamespace is not the default one, so that a test shows who follows status.probeNamespace.
const agentNamespace = "probing"

var update = flag.Bool("update", false, "write the golden files anew")

// suite is the one API server of all tests of this package. It plays the master; behind the front it plays the managed
// clusters, too, with their agent in agentNamespace.
var suite struct {
	config *rest.Config
	client client.WithWatch
	// front is the API server with the gateway's API added.
	front *front
	// user may do what a user of the plugin needs; stranger may do nothing.
	user, stranger string
}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	flag.Parse()
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	env := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "apis", "crds")}, ErrorIfCRDPathMissing: true}
	if suite.config, err = env.Start(); err != nil {
		return 1, fmt.Errorf("starting the API server (KUBEBUILDER_ASSETS names the folder with its binary): %w", err)
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	scheme := runtime.NewScheme()
	if err = errors.Join(clientgoscheme.AddToScheme(scheme), kubeproberv1.AddToScheme(scheme)); err != nil {
		return 1, err
	}
	if suite.client, err = client.NewWithWatch(suite.config, client.Options{Scheme: scheme}); err != nil {
		return 1, err
	}
	if err = prepareUsers(context.Background()); err != nil {
		return 1, fmt.Errorf("preparing users: %w", err)
	}
	if suite.front, err = newFront(suite.config); err != nil {
		return 1, err
	}
	defer suite.front.close()
	return m.Run(), nil
}

func prepareUsers(ctx context.Context) error {
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{kubeproberv1.GroupName}, Resources: []string{"clusters", "probes", "probestatuses"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{kubeproberv1.GroupName}, Resources: []string{"proberuns"}, Verbs: []string{"get", "list", "watch", "create"}},
		{APIGroups: []string{"proxy.kubeprober.erda.cloud"}, Resources: []string{"clusters/proxy"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list"}},
	}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agentNamespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kubeprober"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "user", Namespace: "default"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "stranger", Namespace: "default"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "user"}, Rules: rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "user"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "user"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "user", Namespace: "default"}},
		},
	} {
		if err := suite.client.Create(ctx, object); err != nil {
			return err
		}
	}
	clientset, err := kubernetes.NewForConfig(suite.config)
	if err != nil {
		return err
	}
	for name, token := range map[string]*string{"user": &suite.user, "stranger": &suite.stranger} {
		made, err := clientset.CoreV1().ServiceAccounts("default").CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		*token = made.Status.Token
	}
	return nil
}

// outcome is how a command ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// invocation is one run of the plugin.
type invocation struct {
	server, token string
	ca            []byte
	env           []string
}

// viaFront is the usual way: the API server that also serves the gateway's API.
func viaFront() invocation {
	return invocation{server: suite.front.url(), ca: suite.front.ca(), token: suite.user}
}

// direct is an API server that does not serve the gateway's API.
func direct() invocation {
	return invocation{server: suite.config.Host, ca: suite.config.CAData, token: suite.user}
}

func (i invocation) withEnv(env ...string) invocation {
	i.env = append(append([]string{}, i.env...), env...)
	return i
}

func (i invocation) as(token string) invocation {
	i.token = token
	return i
}

// command prepares the process with a kubeconfig and a home of its own.
func (i invocation) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	kubeconfig := filepath.Join(home, "kubeconfig")
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: i.server, CertificateAuthorityData: i.ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: i.token}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
	if i.token == "" {
		config.AuthInfos["u"] = &clientcmdapi.AuthInfo{
			ClientCertificateData: suite.config.CertData, ClientKeyData: suite.config.KeyData,
		}
	}
	if err := clientcmd.WriteToFile(config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	// The race detector would wait a second at the end of each process.
	cmd.Env = append([]string{asProgram + "=1", "HOME=" + home, "KUBECONFIG=" + kubeconfig, "GORACE=atexit_sleep_ms=0"}, i.env...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs the plugin to its end.
func (i invocation) run(t testing.TB, args ...string) outcome {
	t.Helper()
	cmd := i.command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("running %q: %v", args, err)
	}
	return outcome{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// expect checks the exit code and what the streams say.
func (o outcome) expect(t testing.TB, code int, stdout, stderr []string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, expected %d", o.code, code)
	}
	for stream, wanted := range map[string][]string{o.stdout: stdout, o.stderr: stderr} {
		for _, text := range wanted {
			if !strings.Contains(stream, text) {
				t.Errorf("%q is missing in:\n%s", text, stream)
			}
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wanted, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(wanted) != text {
		t.Errorf("output differs from %s (run with -update to accept it)\n--- expected\n%s--- got\n%s", path, wanted, text)
	}
}

// writeConfig makes a configuration file.
func writeConfig(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// limitedUser is the token of a user who may read Clusters and not use the gateway.
func limitedUser(t *testing.T) string {
	t.Helper()
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "limited", Namespace: "default"}}, nil)
	create(t, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "limited"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{kubeproberv1.GroupName}, Resources: []string{"clusters"}, Verbs: []string{"get"}}},
	}, nil)
	create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "limited"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "limited"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "limited", Namespace: "default"}},
	}, nil)
	clientset, err := kubernetes.NewForConfig(suite.config)
	if err != nil {
		t.Fatal(err)
	}
	made, err := clientset.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "limited", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Status.Token
}
