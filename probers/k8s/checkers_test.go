// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubeprober/kubeprober/probers/checker"
)

func TestWrongSettingsAreResultsOfTheirCheckers(t *testing.T) {
	tests := map[string]struct{ value, says string }{
		"CHECK_DEPLOYMENT_REPLICAS": {"many", `CHECK_DEPLOYMENT_REPLICAS is "many"; it must be a number from 1 to 1000. Correct it in the configs of the Probe`},
		"CHECK_DEPLOYMENT_NAME":     {"Web_Server", "lower-case letters"},
		"CHECK_SERVICE_NAME":        {strings.Repeat("a", 60), "at most 56"},
		"CHECK_CONTAINER_PORT":      {"70000", "a number from 1 to 65535"},
		"CHECK_POD_CPU_REQUEST":     {"1x", "a quantity such as 15m"},
		"CHECK_POD_MEM_REQUEST":     {"1Gi", "is more than their limit 100Mi"},
		"CHECK_TOLERATION_ENVS":     {"a=b:Sometimes", "dedicated=infra:NoSchedule"},
		"CHECK_NODE_SELECTOR":       {"a b", "kubernetes.io/os=linux"},
		"DNS_LABEL_SELECTOR":        {"a in", "a label selector such as"},
		"CHECK_TIMEOUT":             {"15", "a time such as 90s or 15m"},
		"RESOURCE_AUTO_REAP":        {"maybe", "true or false"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for _, c := range Checkers(clusterFor(t, theWorld.nobody), settingsOf(map[string]string{name: test.value})) {
				if _, configured := c.(checker.Limited); configured {
					continue
				}
				failed++
				status, message := c.Check(t.Context())
				if status != checker.Unknown || !strings.Contains(message, test.says) {
					t.Errorf("%s: got %s %s, want %s", c.Name(), status, message, test.says)
				}
			}
			if failed == 0 {
				t.Error("no checker says that its settings are wrong")
			}
		})
	}
}

func TestErrorsOfTheAPIServerAreJudged(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	tests := map[string]struct {
		err    error
		status checker.Status
		says   string
	}{
		"a webhook that does not answer breaks the cluster": {
			apierrors.NewInternalError(errors.New("failed calling webhook")), checker.Error, "the API server fails at testing",
		},
		"a quota does not": {
			apierrors.NewForbidden(pods, "x", errors.New("exceeded quota: all")), checker.Unknown, "a quota keeps the check from testing",
		},
		"a policy does not": {
			apierrors.NewForbidden(pods, "x", errors.New(`admission webhook "p" denied the request`)), checker.Unknown, "a policy keeps the check from testing",
		},
		"missing rights do not":      {apierrors.NewForbidden(pods, "x", errors.New("RBAC")), checker.Unknown, "testing is not allowed"},
		"an expired token does not":  {apierrors.NewUnauthorized("expired"), checker.Unknown, "testing is not allowed"},
		"too much to do does not":    {apierrors.NewTooManyRequests("later", 1), checker.Unknown, "too busy"},
		"a timeout does not":         {apierrors.NewTimeoutError("slow", 1), checker.Unknown, "testing: "},
		"a lost connection does not": {errors.New("connection reset"), checker.Unknown, "the API server cannot be reached for testing"},
		"a service that is away does not": {
			apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "get", pods, "x", "away", 0, true), checker.Unknown, "testing: ",
		},
		"a verdict stays as it is": {checker.Degraded("slow"), checker.Warn, "slow"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, message := checker.Verdict(judge(test.err, "testing"), "")
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s", status, message, test.status, test.says)
			}
		})
	}
}

func TestABudgetLeavesTimeForTheTeardown(t *testing.T) {
	for full, teardown := range map[time.Duration]time.Duration{15 * time.Minute: maxTeardown, 20 * time.Second: 5 * time.Second} {
		b := newBudget(t.Context(), full)
		ctx, cancel := b.work(t.Context())
		defer cancel()
		deadline, _ := ctx.Deadline()
		if got := b.deadline.Sub(deadline).Round(time.Second); got != teardown {
			t.Errorf("of %s the teardown gets %s, want %s", full, got, teardown)
		}
	}
}
