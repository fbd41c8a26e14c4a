#!/usr/bin/env bash
# Tells each node of a kind cluster its pod CIDR and the ways to those of the other nodes; to be called again when a node has
# joined or has another address. Nodes whose image brings a network of its own are left alone.
#   connect.sh NAME [--kubeconfig FILE]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/kind/kind.sh"

usage='usage: connect.sh NAME [--kubeconfig FILE]'
name=${1:?$usage}
kubeconfig=$root/bin/kind/$name.kubeconfig
case $#-${2:-} in
1-) ;;
3---kubeconfig) kubeconfig=$3 ;;
*) die "$usage" ;;
esac
kind=$("$root/hack/tools/tool.sh" kind)
kubectl=$("$root/hack/kube/kubectl.sh")

pod_cidr() {
	"$kubectl" --kubeconfig "$kubeconfig" wait --for=create --timeout 60s "node/$1" >/dev/null
	"$kubectl" --kubeconfig "$kubeconfig" wait --for=jsonpath='{.spec.podCIDR}' --timeout 60s "node/$1" >/dev/null
	"$kubectl" --kubeconfig "$kubeconfig" get node "$1" -o jsonpath='{.spec.podCIDR}'
}

mapfile -t nodes < <("$kind" get nodes --name "$name" 2>/dev/null)
((${#nodes[@]} > 0)) || die "there is no kind cluster $name"
# A node alone has the first pod CIDR and no ways to others.
((${#nodes[@]} > 1)) || exit 0
cidrs=() ips=()
for node in "${nodes[@]}"; do
	cidrs+=("$(pod_cidr "$node")")
	ips+=("$(node_ip "$node")")
done
for i in "${!nodes[@]}"; do
	docker exec "${nodes[i]}" test -x /kind/bin/pod-network || continue
	ways=()
	for j in "${!nodes[@]}"; do
		((i == j)) || ways+=("${cidrs[j]}=${ips[j]}")
	done
	docker exec "${nodes[i]}" /kind/bin/pod-network "${cidrs[i]}" "${ways[@]}"
done
