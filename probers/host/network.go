// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"syscall"

	"github.com/kubeprober/kubeprober/apis/report"
	"github.com/kubeprober/kubeprober/probers/checker"
)

const (
	// maxNameservers is how many name servers the resolvers of pods take; see MAXNS in resolv.conf(5).
	maxNameservers = 3
	// uplink is where systemd-resolved writes the real name servers; resolv.conf then only names its stub.
	uplink = "/run/systemd/resolve/resolv.conf"
)

// checkKubelet asks the kubelet for its health.
func (h *Host) checkKubelet(ctx context.Context) (string, error) {
	asking, cancel := context.WithTimeout(ctx, h.kubeletTime)
	defer cancel()
	request, err := http.NewRequestWithContext(asking, http.MethodGet, h.limits.kubelet, nil)
	if err != nil {
		return "", checker.NotChecked("HOST_KUBELET_HEALTHZ is %q, which is no URL: %w", h.limits.kubelet, err)
	}
	response, err := h.client.Do(request)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		// This pod was started by the kubelet just now, so the endpoint is more likely elsewhere than the kubelet gone.
		return "", checker.NotChecked("nothing listens at %s: the pod needs hostNetwork, or HOST_KUBELET_HEALTHZ names another address",
			h.limits.kubelet)
	case err != nil && asking.Err() != nil && ctx.Err() == nil:
		return "", checker.Broken("the kubelet does not answer at %s within %s", h.limits.kubelet, h.kubeletTime)
	case err != nil:
		return "", fmt.Errorf("asking the kubelet: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return "", fmt.Errorf("reading the answer of the kubelet: %w", err)
	}
	text := report.CleanText(string(body), 200)
	switch {
	case response.StatusCode >= 500:
		return "", checker.Broken("the kubelet is not healthy: %s %s", response.Status, text)
	case response.StatusCode != http.StatusOK:
		return "", checker.NotChecked("%s answers %s %s", h.limits.kubelet, response.Status, text)
	}
	return "the kubelet is healthy", nil
}

// checkResolv looks whether the node's resolver configuration is one that pods can inherit.
func (h *Host) checkResolv() (string, error) {
	servers, err := h.nameservers("/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	source := "/etc/resolv.conf"
	if onlyLoopback(servers) {
		// The kubelet is then told to use the file behind the stub.
		behind, err := h.nameservers(uplink)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if len(behind) > 0 {
			servers, source = behind, uplink
		}
	}
	list := strings.Join(servers, ", ")
	switch {
	case len(servers) == 0:
		return "", checker.Broken("%s names no name server: the node cannot resolve names", source)
	case onlyLoopback(servers):
		return "", checker.Degraded("%s names only loopback addresses (%s): pods that inherit it, CoreDNS among them, cannot reach them",
			source, list)
	case len(servers) > maxNameservers:
		return "", checker.Degraded("%s names %d name servers (%s); pods only use the first %d", source, len(servers), list, maxNameservers)
	}
	return fmt.Sprintf("%s names %s", source, list), nil
}

func (h *Host) nameservers(file string) ([]string, error) {
	data, err := h.read(file)
	if err != nil {
		return nil, err
	}
	var servers []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers, nil
}

func onlyLoopback(servers []string) bool {
	for _, server := range servers {
		if address, err := netip.ParseAddr(server); err != nil || !address.IsLoopback() {
			return false
		}
	}
	return len(servers) > 0
}
