#!/usr/bin/env bash
# Builds the Kubernetes binaries from their Go modules, once, into the cache, and prints the folder that holds them.
#   build.sh envtest   etcd, kube-apiserver and kubectl: what KUBEBUILDER_ASSETS needs
#   build.sh node      the binaries of a kind node and of its control plane
# The versions are those of go.mod here and in etcd/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here=$root/hack/kube
export GOWORK=off CGO_ENABLED=0

kube_version=$(module_version "$here" k8s.io/kubernetes)
etcd_version=$(module_version "$here/etcd" go.etcd.io/etcd/server/v3)

# build_kube DIR COMMAND... builds k8s.io/kubernetes/cmd/COMMAND with the version that `kubectl version` shows.
build_kube() {
	local dir=$1 stamp major minor
	shift
	IFS=. read -r major minor _ <<<"${kube_version#v}"
	stamp="-X k8s.io/component-base/version.gitVersion=$kube_version"
	stamp+=" -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"
	stamp+=" -X k8s.io/component-base/version.gitTreeState=clean"
	(cd "$here" && go build -trimpath -ldflags "-s -w $stamp" -o "$dir/" "${@/#/k8s.io/kubernetes/cmd/}")
}

build_envtest() {
	# The package of etcd's command is named server, after its folder: -o names the binary.
	(cd "$here/etcd" && go build -trimpath -ldflags "-s -w" -o "$1/etcd" go.etcd.io/etcd/server/v3)
	build_kube "$1" kubectl kube-apiserver
}

build_node() {
	build_kube "$1" kubelet kubeadm kube-controller-manager kube-scheduler kube-proxy
}

case ${1:-} in
envtest) name=envtest-$kube_version-etcd-$etcd_version ;;
node) name=kube-node-$kube_version ;;
*) die "usage: build.sh envtest|node" ;;
esac
cached "$name" "build_$1"
echo "$cache/$name"
