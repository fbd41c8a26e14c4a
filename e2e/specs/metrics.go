// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kubeprober/kubeprober/e2e/framework"
)

// Metrics is about the metrics of the agent, after the runs of the other specs: who may read them, and what they say.
func Metrics(input func() Input) {
	const account = "e2e-scraper"

	It("shows the metrics to who may read them, and to nobody else", func(ctx SpecContext) {
		in := input()
		address := forward(ctx, in.Managed, "deployment/probe-agent", "8443")
		token := tokenOf(ctx, in.Managed, account)

		Expect(status(scrape(ctx, address, ""))).To(Equal(http.StatusUnauthorized))
		Expect(status(scrape(ctx, address, "not-a-token"))).To(Equal(http.StatusUnauthorized))
		Expect(status(scrape(ctx, address, token))).To(Equal(http.StatusForbidden))
	})

	It("counts and times what the other specs have done", func(ctx SpecContext) {
		in := input()
		// Decisions about who may read are remembered for a minute, so this is another account.
		const account = account + "-bound"
		token := tokenOf(ctx, in.Managed, account)
		in.Managed.Kubectl("create", "clusterrolebinding", account, "--clusterrole=probe-agent-metrics-reader",
			"--serviceaccount=default:"+account).Succeed(ctx)
		DeferCleanup(func(ctx SpecContext) { in.Managed.Kubectl("delete", "clusterrolebinding", account).Succeed(ctx) }, NodeTimeout(time.Minute))
		code, text := scrape(ctx, forward(ctx, in.Managed, "deployment/probe-agent", "8443"), token)
		Expect(code).To(Equal(http.StatusOK))

		for _, series := range []string{
			`kubeprober_checker_status\{.*probe="in-go".*\} [0-9]`,
			`kubeprober_checker_status\{.*checker="checker".*probe="exit-1".*\} [0-9]`,
			`kubeprober_run_duration_seconds_count\{.*probe="too-slow".*\} 1`,
			`kubeprober_runs_total\{.*outcome="PASS".*\} [1-9]`,
			`kubeprober_runs_total\{outcome="OOMKilled",probe="memory-hog"\} 1`,
			`kubeprober_runs_total\{outcome="DeadlineExceeded",probe="too-slow"\} 1`,
			`kubeprober_seconds_since_last_pass\{.*probe="exit-0".*\} [0-9]`,
			`kubeprober_report_requests_total\{code="200"\} [1-9]`,
			`kubeprober_report_requests_total\{code="400"\} [1-9]`,
			`kubeprober_scheduler_lag_seconds_count(\{.*\})? [1-9]`,
		} {
			Expect(text).To(MatchRegexp("(?m)^" + series))
		}
		Expect(text).NotTo(MatchRegexp(`(?m)^kubeprober_.*probe="short-lived"`), "the series of a deleted Probe go with it")
		for _, run := range runIDsIn(ctx, in.Managed) {
			Expect(text).NotTo(ContainSubstring(run), "no run has a series of its own")
		}
	})
}

// tokenOf makes a service account for as long as the spec runs, and returns a token of it.
func tokenOf(ctx context.Context, c *framework.Cluster, account string) string {
	GinkgoHelper()
	c.Kubectl("create", "serviceaccount", account, "-n", "default").Succeed(ctx)
	DeferCleanup(func(ctx SpecContext) { c.Kubectl("delete", "serviceaccount", account, "-n", "default").Succeed(ctx) }, NodeTimeout(time.Minute))
	return strings.TrimSpace(c.Kubectl("create", "token", account, "-n", "default").Quiet().Succeed(ctx))
}

// runIDsIn are the IDs of the latest runs of all probes.
func runIDsIn(ctx context.Context, c *framework.Cluster) []string {
	GinkgoHelper()
	ids := strings.Fields(c.Kubectl("get", "probestatuses", "-n", namespace, "-o", "jsonpath={.items[*].status.lastRunID}").Succeed(ctx))
	Expect(ids).NotTo(BeEmpty())
	return ids
}

var forwarded = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:[0-9]+)`)

// forward makes a port of a pod reachable until the spec ends, and returns where.
func forward(ctx context.Context, c *framework.Cluster, target, port string) string {
	GinkgoHelper()
	session := c.Kubectl("port-forward", "-n", namespace, target, ":"+port).Start(ctx)
	Eventually(session).WithTimeout(soon).Should(gbytes.Say(forwarded.String()))
	return forwarded.FindStringSubmatch(string(session.Out.Contents()))[1]
}

// scrape reads the metrics at an address with a token; an empty one is not sent.
func scrape(ctx context.Context, address, token string) (code int, text string) {
	GinkgoHelper()
	// The certificate is one that the agent has made for itself.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(body)
}

func status(code int, _ string) int { return code }
