#!/usr/bin/env bash
# Creates a kind cluster, also several at once by several calls, and waits until it can be used: nodes Ready, DNS
# Available, a default StorageClass. A cluster of that name that it made earlier is deleted first; one that somebody else
# made is left alone, and it fails.
#   create.sh NAME [--workers N] [--config FILE] [--kubeconfig FILE]
# The lines of the config FILE, such as kubeadmConfigPatches, are added to the configuration that kind gets.
# The kubeconfig FILE (default bin/kind/NAME.kubeconfig) gets the cluster's admin credentials; ~/.kube/config is left alone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/kind/kind.sh"

usage='usage: create.sh NAME [--workers N] [--config FILE] [--kubeconfig FILE]'
name=${1:?$usage}
shift
workers=0
additions=
kubeconfig=$root/bin/kind/$name.kubeconfig
while (($# > 0)); do
	case $1 in
	--workers) workers=${2:?$usage} ;;
	--config) additions=$(cat "${2:?$usage}") ;;
	--kubeconfig) kubeconfig=$(realpath -m "${2:?$usage}") ;;
	*) die "$usage" ;;
	esac
	shift 2
done
[[ $workers =~ ^[0-9]$ ]] || die "--workers $workers: give a number from 0 to 9"

"$root/hack/engine/up.sh"
require_ours "$name"
image=$("$root/hack/node/image.sh")
kind=$("$root/hack/tools/tool.sh" kind)
kubectl=$("$root/hack/kube/kubectl.sh")

config() {
	cat <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  kubeProxyMode: nftables
EOF
	# An image of our own brings its pod network (hack/node/files/kind/bin/pod-network); others bring kind's.
	! own_image "$image" || echo "  disableDefaultCNI: true"
	printf 'nodes:\n- role: control-plane\n'
	for ((i = 0; i < workers; i++)); do echo "- role: worker"; done
	printf '%s\n' "$additions"
}

# explain_failure names the one limit of the machine that several clusters together exceed, and that no message of theirs names.
explain_failure() {
	local node=$name-control-plane
	{
		docker exec "$node" journalctl -u kubelet --no-pager -n 500
		docker exec "$node" find /var/log/pods -name '*.log' -exec tail -n 50 {} +
	} 2>/dev/null | grep -c 'notify.*too many open files' >/dev/null || return 0
	log "Cluster $name lacks inotify instances: all clusters of this machine share $(cat /proc/sys/fs/inotify/max_user_instances).
Delete clusters that are not needed ('make demo-down'), or raise the limit: sysctl -w fs.inotify.max_user_instances=1024"
}
trap '(($? == 0)) || explain_failure' EXIT

started=$SECONDS
log "Creating cluster $name"
mkdir -p "$(dirname "$kubeconfig")"
"$kind" delete cluster -q --name "$name" --kubeconfig "$kubeconfig"
rm -f "$kubeconfig"
config | "$kind" create cluster -q --name "$name" --image "$image" --kubeconfig "$kubeconfig" --config -
"$root/hack/kind/connect.sh" "$name" --kubeconfig "$kubeconfig"

"$kubectl" --kubeconfig "$kubeconfig" wait --for=condition=Ready --timeout 120s node --all >/dev/null
"$kubectl" --kubeconfig "$kubeconfig" -n kube-system rollout status --timeout 120s deployment/coredns >/dev/null
"$kubectl" --kubeconfig "$kubeconfig" get storageclass \
	-o jsonpath='{.items[*].metadata.annotations.storageclass\.kubernetes\.io/is-default-class}' | grep -q true ||
	die "cluster $name has no default StorageClass"
log "Cluster $name is ready after $((SECONDS - started)) s: kubectl --kubeconfig $kubeconfig get nodes"
