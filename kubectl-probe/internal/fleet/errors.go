// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// gatewayGroup is the API group of the gateway's door at the API server.
const gatewayGroup = "proxy.kubeprober.erda.cloud"

// errNoAggregatedAPI tells that the API server does not serve the gateway's API.
var errNoAggregatedAPI = errors.New("the API server does not serve " + gatewayPath)

// explainMaster turns an error of the cluster of the kubeconfig into what the user can do about it.
func (f *Fleet) explainMaster(_ context.Context, what call, err error) error {
	resource := what.resource + "." + kubeproberv1.GroupName
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsForbidden(err):
		question := []string{"auth", "can-i", what.verb, resource}
		if what.namespace != "" {
			question = append(question, "-n", what.namespace)
		}
		return exit.New(exit.General, "not allowed to %s %s%s: %w", what.verb, what.resource, inNamespace(what), err).
			Then(f.flags.Kubectl(question...))
	case apierrors.IsUnauthorized(err):
		return exit.New(exit.General, "the API server does not accept the credentials of the kubeconfig: %w", err).
			Then(f.flags.Kubectl("auth", "whoami"))
	case apierrors.IsNotFound(err) && !namesObject(err):
		return exit.New(exit.General, "Kubeprober is not installed in the cluster of the kubeconfig: it has no %s", resource).
			Then(f.flags.Kubectl("config", "current-context"))
	case apierrors.IsNotFound(err):
		return &exit.Error{Code: exit.General, Err: fmt.Errorf("%s %q%s not found: %w", singular(what.resource), what.name, inNamespace(what), err)}
	case isTransport(err):
		return exit.New(exit.General, "connecting to the API server %s: %w", f.config.Host, withoutURL(err)).
			Then(f.flags.Kubectl("cluster-info"))
	default:
		return &exit.Error{Code: exit.General, Err: fmt.Errorf("%s %s%s: %w", gerund(what.verb), what.resource, inNamespace(what), err)}
	}
}

// explainManaged turns an error of a managed cluster, or of the gateway before it, into what the user can do about it.
func (f *Fleet) explainManaged(cluster *kubeproberv1.Cluster) func(context.Context, call, error) error {
	return func(ctx context.Context, what call, err error) error {
		switch {
		case apierrors.IsForbidden(err) && ofGateway(err):
			return exit.New(exit.General, "not allowed to reach cluster %q through the master: %w", cluster.Name, err).
				Then(f.flags.Kubectl("auth", "can-i", "get", "clusters."+gatewayGroup+"/"+cluster.Name, "--subresource=proxy"))
		case apierrors.IsNotFound(err) && !namesObject(err):
			if served, checkErr := f.servesGateway(ctx); checkErr == nil && !served {
				return errNoAggregatedAPI
			}
		}
		return explainFar(cluster, what, err, f.flags.Kubectl("get", "apiservice", "v1."+gatewayGroup))
	}
}

// explainDirect is explainManaged for the master's own address.
func (f *Fleet) explainDirect(at *master, cluster *kubeproberv1.Cluster) func(context.Context, call, error) error {
	return func(_ context.Context, what call, err error) error {
		switch {
		case apierrors.IsUnauthorized(err):
			return exit.New(exit.General, "the master at %s (from %s) does not accept the token of the kubeconfig: %w", at.address, at.from, err).
				Then(f.flags.Kubectl("auth", "whoami"))
		case apierrors.IsForbidden(err) && ofGateway(err):
			return exit.New(exit.General, "not allowed to reach cluster %q through the master at %s: %w", cluster.Name, at.address, err).
				Then(f.flags.Kubectl("auth", "can-i", "get", "clusters."+gatewayGroup+"/"+cluster.Name, "--subresource=proxy"))
		case isTransport(err) && !errors.Is(err, context.Canceled):
			return exit.New(exit.Incomplete, "connecting to the master at %s (from %s): %w", at.address, at.from, withoutURL(err)).
				Then("remove the address to go through the API server of the kubeconfig, or correct it")
		default:
			return explainFar(cluster, what, err, f.flags.Kubectl("get", "cluster", cluster.Name))
		}
	}
}

// explainFar explains what both doors have in common: the tunnel, and the managed cluster behind it.
func explainFar(cluster *kubeproberv1.Cluster, what call, err error, next string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsServiceUnavailable(err) && ofGateway(err):
		return disconnected(cluster)
	case apierrors.IsNotFound(err) && ofGateway(err):
		return &exit.Error{Code: exit.General, Err: err}
	case apierrors.IsForbidden(err):
		return exit.New(exit.General, "cluster %q does not let Kubeprober %s %s%s: %w", cluster.Name, what.verb, what.resource, inNamespace(what), err).
			Then("the role of probe-tunnel in that cluster decides; see its deployment")
	case apierrors.IsNotFound(err):
		return exit.New(exit.General, "cluster %q has no %s.%s: the agent is not installed there as it should be",
			cluster.Name, what.resource, kubeproberv1.GroupName)
	case isTransport(err):
		return exit.New(exit.Incomplete, "reaching cluster %q: %w", cluster.Name, withoutURL(err)).Then(next)
	default:
		code := exit.General
		if unreachable(err) {
			code = exit.Incomplete
		}
		return exit.New(code, "reaching cluster %q: %w", cluster.Name, err).Then(next)
	}
}

// Connected is an error unless the master holds a live tunnel to the cluster, as far as the Cluster tells.
func Connected(cluster *kubeproberv1.Cluster) error {
	condition := meta.FindStatusCondition(cluster.Status.Conditions, kubeproberv1.ClusterConnectedCondition)
	if condition != nil && condition.Status == metav1.ConditionTrue {
		return nil
	}
	return disconnected(cluster)
}

// disconnected is the error of a cluster without a tunnel.
func disconnected(cluster *kubeproberv1.Cluster) error {
	heard := "its agent was never heard"
	if beat := cluster.Status.HeartbeatTime; beat != nil {
		heard = fmt.Sprintf("last heartbeat %s ago", duration.HumanDuration(time.Since(beat.Time)))
	}
	return exit.New(exit.Incomplete, "cluster %q is disconnected (%s)", cluster.Name, heard).
		Then("kubectl describe cluster "+cluster.Name, "in that cluster: kubectl logs -n kubeprober deployment/probe-tunnel")
}

// servesGateway asks whether the API server serves the gateway's API.
func (f *Fleet) servesGateway(ctx context.Context) (bool, error) {
	err := f.client.rest.Get().AbsPath(gatewayPath).MaxRetries(serverRetries).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// namesObject tells a 404 about one object from a 404 of a server that does not know the path at all.
func namesObject(err error) bool {
	return !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// ofGateway tells whether the gateway refused, and not the managed cluster behind it.
func ofGateway(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Group == gatewayGroup
}

// unreachable tells whether err says that the question never got an answer, which is no verdict on anything.
func unreachable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 502 && code <= 504 || apierrors.IsTimeout(err)
}

// isTransport tells whether err comes from below the API: no connection, no certificate, no answer in time.
func isTransport(err error) bool {
	var below *url.Error
	return errors.As(err, &below) || errors.Is(err, context.DeadlineExceeded)
}

// withoutURL drops the long URL of a request from its error.
func withoutURL(err error) error {
	var below *url.Error
	if errors.As(err, &below) {
		err = below.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", readTimeout)
	}
	return err
}

func inNamespace(what call) string {
	if what.namespace == "" {
		return ""
	}
	return " in namespace " + what.namespace
}

func gerund(verb string) string {
	return map[string]string{"get": "getting", "list": "listing", "create": "creating", "watch": "watching"}[verb]
}

func singular(resource string) string {
	return map[string]string{"clusters": "cluster", "probes": "probe", "proberuns": "run", "probestatuses": "probe status"}[resource]
}
