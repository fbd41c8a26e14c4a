// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// reportURL returns what tells a new run where the receiver is: the flag, or the Service.
func (a *agent) reportURL() (func(context.Context) (*url.URL, error), error) {
	if a.options.ReportURL == "" {
		service := types.NamespacedName{Namespace: a.options.Namespace, Name: serviceName}
		return serviceURL(a.mgr.GetAPIReader(), service, a.options.ClusterDomain), nil
	}
	given, err := parseURL("--report-url", a.options.ReportURL)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (*url.URL, error) { return given, nil }, nil
}

// serviceURL finds the receiver by the cluster IP of its Service, so that a checker can also report that the cluster's DNS is
// down. The Service is read for each run: one that was made anew has another IP. Where there is no IP its DNS name must do.
func serviceURL(live client.Reader, name types.NamespacedName, clusterDomain string) func(context.Context) (*url.URL, error) {
	at := func(host string) *url.URL {
		return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(reportPort))}
	}
	byName := at(fmt.Sprintf("%s.%s.svc.%s", name.Name, name.Namespace, clusterDomain))
	return func(ctx context.Context) (*url.URL, error) {
		service := &corev1.Service{}
		err := live.Get(ctx, name, service)
		// Forbidden: the Role is of an earlier version. Reports matter more than the way they take.
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("reading Service %s: %w", name, err)
		}
		ip := service.Spec.ClusterIP
		if err != nil || ip == "" || ip == corev1.ClusterIPNone {
			why := "it has no cluster IP"
			if err != nil {
				why = err.Error()
			}
			log.FromContext(ctx).Info("Service is reached by its DNS name: checkers cannot report while the cluster's DNS is down",
				"Service", name, "reason", why)
			return byName, nil
		}
		return at(ip), nil
	}
}
