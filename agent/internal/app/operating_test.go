// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubeprober/kubeprober/agent/internal/app"
	"github.com/kubeprober/kubeprober/apis/report"
	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// collectorToken is a token of a service account that may read metrics.
func collectorToken(ctx context.Context, namespace string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "collector"}}
	Expect(api.Create(ctx, account)).To(Succeed())
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
	Expect(api.Create(ctx, role)).To(Succeed())
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "collector"}},
	}
	Expect(api.Create(ctx, binding)).To(Succeed())
	request := &authenticationv1.TokenRequest{}
	Expect(api.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}

// read fetches the metrics of an agent.
func read(ctx context.Context, g Gomega, address, token string) (code int, text string) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	g.Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(data)
}

var _ = Describe("The metrics", func() {
	It("tell what checkers say and what the agent did, to those who may know, also after a restart", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		token := collectorToken(ctx, ns)
		address := freeAddress()
		serve := func(o *app.Options) { o.MetricsAddr = address }
		first := startAgent(ns, serve)
		probe := createProbe(ctx, ns, "k8s", everyMinutes(30))
		job := theJob(ctx, ns, "k8s")
		pod := startPod(ctx, job)
		code, text := post(job, results("dns=PASS", "disk=ERROR:full"))
		Expect(code).To(Equal(http.StatusOK), text)
		endWell(ctx, job, pod)
		Eventually(func() kubeproberv1.CheckerStatus { return outcomeOf(ctx, ns, "k8s").Status }).Should(Equal(kubeproberv1.CheckerError))
		code, _ = post(job, results("dns=PASS"))
		Expect(code).To(Equal(http.StatusGone))

		Eventually(func(g Gomega) {
			code, text = read(ctx, g, address, "")
			g.Expect(code).To(Equal(http.StatusUnauthorized), text)
		}).Should(Succeed())
		Eventually(func(g Gomega) {
			code, text = read(ctx, g, address, token)
			g.Expect(code).To(Equal(http.StatusOK), text)
			for _, line := range []string{
				`kubeprober_checker_status{checker="disk",node="",probe="k8s"} 4`,
				`kubeprober_checker_status{checker="dns",node="",probe="k8s"} 0`,
				`kubeprober_seconds_since_last_pass{checker="dns",node="",probe="k8s"} `,
				`kubeprober_runs_total{outcome="ERROR",probe="k8s"} 1`,
				`kubeprober_report_requests_total{code="200"} 1`,
				`kubeprober_report_requests_total{code="410"} 1`,
				`kubeprober_scheduler_lag_seconds_count 1`,
			} {
				g.Expect(text).To(ContainSubstring(line))
			}
		}).Should(Succeed())
		Expect(text).To(ContainSubstring("kubeprober_run_duration_seconds_bucket"))
		Expect(text).NotTo(ContainSubstring(`seconds_since_last_pass{checker="disk"`))
		Expect(text).NotTo(ContainSubstring(job.Labels[kubeproberv1.RunIDLabel]), "a run ID is in a label")

		By("starting again")
		first.stop()
		startAgent(ns, serve)
		Eventually(func(g Gomega) {
			code, text = read(ctx, g, address, token)
			g.Expect(code).To(Equal(http.StatusOK), text)
			g.Expect(text).To(ContainSubstring(`kubeprober_checker_status{checker="disk",node="",probe="k8s"} 4`))
		}).Should(Succeed())

		By("deleting the Probe")
		Expect(api.Delete(ctx, probe)).To(Succeed())
		Eventually(func(g Gomega) {
			code, text = read(ctx, g, address, token)
			g.Expect(code).To(Equal(http.StatusOK), text)
			g.Expect(text).NotTo(ContainSubstring(`probe="k8s"`))
		}).Should(Succeed())
	})
})

var _ = Describe("An agent that is told to stop", func() {
	It("finishes a report under way and gives its leadership back", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		agent := startAgent(ns, func(o *app.Options) { o.LeaderElect = true })
		createProbe(ctx, ns, "k8s", everyMinutes(30))
		job := theJob(ctx, ns, "k8s")
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "probe-agent." + kubeproberv1.GroupName}}
		Expect(api.Get(ctx, client.ObjectKeyFromObject(lease), lease)).To(Succeed())
		Expect(lease.Spec.HolderIdentity).To(HaveValue(Not(BeEmpty())))

		By("sending half a report")
		target, err := url.Parse(environmentOf(job)[report.EnvReportURL])
		Expect(err).NotTo(HaveOccurred())
		body := results("a=PASS")
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", target.Host)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = connection.Close() }()
		_, err = fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", target.Path, target.Host, len(body))
		Expect(err).NotTo(HaveOccurred())
		reader := bufio.NewReader(connection)
		line, err := reader.ReadString('\n')
		Expect(err).NotTo(HaveOccurred())
		Expect(line).To(HavePrefix("HTTP/1.1 100"), "the agent does not wait for the report")

		By("stopping in the middle")
		agent.cancel()
		Eventually(func() error {
			other, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", target.Host)
			if err == nil {
				_ = other.Close()
			}
			return err
		}).Should(HaveOccurred(), "the agent takes new connections")
		Consistently(agent.done, "200ms").ShouldNot(Receive())
		_, err = io.WriteString(connection, body)
		Expect(err).NotTo(HaveOccurred())
		_, err = reader.ReadString('\n')
		Expect(err).NotTo(HaveOccurred())
		response, err := http.ReadResponse(reader, nil)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		Expect(response.StatusCode).To(Equal(http.StatusOK))
		agent.cancel = nil
		Eventually(agent.done, 20*time.Second).Should(Receive(BeNil()))
		Expect(said(outcomeOf(ctx, ns, "k8s").Checkers)).To(Equal([]string{"a=PASS"}))
		Expect(api.Get(ctx, client.ObjectKeyFromObject(lease), lease)).To(Succeed())
		Expect(lease.Spec.HolderIdentity).To(HaveValue(BeEmpty()), "the next replica must wait for the lease to expire")
	})
})

// agentOf is the configuration of a user who has the rights of the agent in one namespace, and in no other.
func agentOf(ctx context.Context, namespace string) *rest.Config {
	GinkgoHelper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}}
	Expect(api.Create(ctx, role)).To(Succeed())
	user := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: namespace}}
	Expect(api.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent"}, Subjects: user,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agent"},
	})).To(Succeed())
	Expect(api.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace}, Subjects: user,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:kube-scheduler"},
	})).To(Succeed())
	as := rest.CopyConfig(config)
	as.Impersonate = rest.ImpersonationConfig{UserName: namespace, Groups: []string{"system:authenticated"}}
	return as
}

var _ = Describe("An agent without the rights for elevated probes", func() {
	It("says what to do", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		address := freeAddress()
		options := &app.Options{
			Namespace: ns, ReportURL: "http://" + address, ReportAddr: address, HealthAddr: freeAddress(), MetricsAddr: "0", Grace: time.Second, LogLevel: "info",
		}
		log, err := app.NewLogger(options, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		err = app.Run(ctx, options, agentOf(ctx, ns), "v0.0.0-test", log)
		Expect(err).To(MatchError(And(ContainSubstring("namespace kubeprober-elevated"), ContainSubstring("--elevated-probes=Refuse"))))
		Expect(strings.Count(err.Error(), "\n")).To(BeZero())
	})
})
