#!/usr/bin/env bash
# Deletes what deployment/APP.yaml names from the cluster of the current context, with all objects of its kinds.
# Where the master and an agent share the cluster, what the other one needs stays: the kinds, the namespace, its objects.
#   undeploy.sh APP
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/deploy/manifest.sh"

manifest=$(manifest_of "${1:-}")
kubectl=$("$root/hack/kube/kubectl.sh")

# What the manifest deploys, not its name, tells whose objects are whose: it may be an edited copy.
#   neighbour: the Deployment that may share the cluster;  own_kinds, own_namespace: this one's objects
#   traces: what it makes in the namespace kubeprober while it runs, and the kinds that the neighbour has no use for
deploys=$("$kubectl" create --dry-run=client -f "$manifest" -o name)
case $deploys in
*deployment.apps/probe-master*)
	neighbour=probe-agent own_namespace=default
	# Clusters go before the Probes that they use.
	own_kinds=(clusters proberuns probes)
	traces=(lease/probe-master crd/clusters.kubeprober.erda.cloud)
	;;
*deployment.apps/probe-agent*)
	neighbour=probe-master own_namespace=kubeprober
	own_kinds=(proberuns probes probestatuses)
	traces=(lease/probe-agent.kubeprober.erda.cloud secret/probeagent-report-key)
	;;
*) die "$manifest deploys neither probe-master nor probe-agent; name another one with APP or MANIFEST" ;;
esac

# without_shared FILE prints the manifest without what the master and the agent have in common.
without_shared() {
	awk '
		function flush() { if (!shared && !(namespace && common)) printf "%s", document; document = ""; shared = namespace = common = 0 }
		/^---/ { flush() }
		/^kind: *CustomResourceDefinition[^A-Za-z]*$/ { shared = 1 }
		# Of the namespaces, that of the elevated probes is the agent'"'"'s alone.
		/^kind: *Namespace[^A-Za-z]*$/ { namespace = 1 }
		/^  name: *"?kubeprober"? *$/ { common = 1 }
		{ document = document $0 "\n" }
		END { flush() }' "$1"
}

# delete_objects OPTION... deletes the objects of all kinds.
delete_objects() {
	local kind
	for kind in "${kinds[@]}"; do
		"$kubectl" delete "$kind" --all "$(scope "$kind")" "$@" ||
			log "Some $kind are still there; their controller did not finish in time"
	done
}

# scope KIND prints the option that bounds what is deleted of a kind; Clusters are in no namespace.
scope() {
	if [[ -z $shares || $1 == clusters.* ]]; then
		echo --all-namespaces
	else
		echo "--namespace=$own_namespace"
	fi
}

# give_up_finalizers takes the finalizers off what is left: no controller is there any more to do it.
give_up_finalizers() {
	local kind
	for kind in "${kinds[@]}"; do
		"$kubectl" get "$kind" "$(scope "$kind")" --ignore-not-found \
			-o jsonpath='{range .items[*]}{.metadata.namespace}{"/"}{.metadata.name}{"\n"}{end}' 2>/dev/null |
			while IFS=/ read -r namespace object; do
				log "Giving up the clean-up of $kind $object"
				"$kubectl" ${namespace:+-n "$namespace"} patch "$kind" "$object" --type merge -p '{"metadata":{"finalizers":null}}' </dev/null
			done || true
	done
}

await_gone() { "$kubectl" wait --for=delete --timeout 120s -f "$removed"; }

# undeploy_alone leaves nothing. What is left of the objects would hold its kind for ever.
undeploy_alone() {
	delete_objects --timeout "${UNDEPLOY_TIMEOUT:-60s}"
	"$kubectl" delete --ignore-not-found --wait=false -f "$removed"
	give_up_finalizers
	await_gone
}

# undeploy_beside leaves the neighbour as it is.
undeploy_beside() {
	delete_objects --timeout "${UNDEPLOY_TIMEOUT:-60s}"
	"$kubectl" delete --ignore-not-found --wait=false -f "$removed"
	await_gone
	# Until now a master may have written a Probe again, and an agent may have registered its Cluster again.
	delete_objects --wait=false
	give_up_finalizers
	"$kubectl" -n kubeprober delete --ignore-not-found "${traces[@]}"
	# The master's settings for the agent go with the agent.
	[[ $neighbour != probe-master ]] ||
		"$kubectl" -n kubeprober delete configmaps -l kubeprober.erda.cloud/managed-by=probe-master
}

# Objects go before their controllers, which clean up after them (finalizers).
mapfile -t kinds < <("$kubectl" get -f "$manifest" --ignore-not-found \
	-o jsonpath='{range .items[?(@.kind=="CustomResourceDefinition")]}{.metadata.name}{"\n"}{end}' | sort)
shares=$("$kubectl" -n kubeprober get deployment "$neighbour" --ignore-not-found -o name)
log "Deleting what ${manifest#"$root"/} names"
if [[ -z $shares ]]; then
	removed=$manifest
	undeploy_alone
	exit
fi

log "$neighbour runs in this cluster, too. Kept for it: the namespace kubeprober, the kinds that it uses, and all objects
but these: ${own_kinds[*]} (namespace $own_namespace)"
known=("${kinds[@]}")
kinds=()
for own in "${own_kinds[@]}"; do
	for kind in "${known[@]}"; do
		[[ $kind != "$own".* ]] || kinds+=("$kind")
	done
done
# It may hold the secret.
removed=$(umask 077 && mktemp -t kubeprober-undeploy-XXXXXX.yaml)
trap 'rm -f "$removed"' EXIT
without_shared "$manifest" >"$removed"
undeploy_beside
