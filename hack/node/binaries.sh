#!/usr/bin/env bash
# Builds what a kind node and its cluster need beside Kubernetes itself, once, into the cache, and prints the folder:
# containerd, runc, the CNI plugins, coredns, local-path-provisioner and pause.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/node/versions.sh"

# go_install DIR TAGS PACKAGE@VERSION... builds into DIR, for the root of another Debian release: without its C library.
go_install() {
	local dir=$1 tags=$2
	shift 2
	GOWORK=off GOBIN=$dir go install -trimpath -tags "$tags" -ldflags "-s -w ${ldflags:-}" "$@"
}

build_binaries() {
	local dir=$1 static='-linkmode external -extldflags -static' containerd=github.com/containerd/containerd/v2
	debian_packages libseccomp-dev pkg-config gcc libc6-dev

	CGO_ENABLED=1 ldflags="$static -X $containerd/version.Version=$containerd_version" go_install "$dir" \
		"no_btrfs no_devmapper no_zfs no_aufs netgo osusergo static_build" \
		"$containerd/cmd/"{containerd,ctr,containerd-shim-runc-v2}"@$containerd_version"
	CGO_ENABLED=1 ldflags=$static go_install "$dir" "seccomp netgo osusergo" "github.com/opencontainers/runc@$runc_version"

	export CGO_ENABLED=0
	go_install "$dir/cni" "" github.com/containernetworking/plugins/plugins/{ipam/host-local,main/loopback,main/ptp,meta/portmap}"@$cni_version"
	go_install "$dir" "" "github.com/coredns/coredns@$coredns_version"
	go_install "$dir" "" "github.com/rancher/local-path-provisioner@$local_path_version"
	(cd "$root/hack/node/pause" && GOWORK=off go build -trimpath -ldflags "-s -w" -o "$dir/pause" .)
}

versions=$(cat "$root/hack/node/versions.sh" "$root/hack/node/binaries.sh" "$root/hack/node/pause/"* | sha256sum | cut -c1-12)
cached "node-binaries-$versions" build_binaries
echo "$cache/node-binaries-$versions"
