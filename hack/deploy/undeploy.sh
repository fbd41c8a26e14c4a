#!/usr/bin/env bash
# Deletes what deployment/APP.yaml names from the cluster of the current context, with all objects of its kinds.
#   undeploy.sh APP
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/deploy/manifest.sh"

manifest=$(manifest_of "${1:-}")
kubectl=$("$root/hack/kube/kubectl.sh")
log "Deleting what ${manifest#"$root"/} names"

# Objects go before their controllers, which clean up after them (finalizers); Clusters go before the Probes that they use.
mapfile -t kinds < <("$kubectl" get -f "$manifest" --ignore-not-found \
	-o jsonpath='{range .items[?(@.kind=="CustomResourceDefinition")]}{.metadata.name}{"\n"}{end}' | sort)
for kind in "${kinds[@]}"; do
	"$kubectl" delete "$kind" --all --all-namespaces --timeout "${UNDEPLOY_TIMEOUT:-60s}" ||
		log "Some $kind are still there; their controller did not finish in time"
done

"$kubectl" delete --ignore-not-found --wait=false -f "$manifest"

# What is left has no controller any more that would take its finalizer away, and would hold its kind for ever.
for kind in "${kinds[@]}"; do
	"$kubectl" get "$kind" --all-namespaces --ignore-not-found \
		-o jsonpath='{range .items[*]}{.metadata.namespace}{"/"}{.metadata.name}{"\n"}{end}' 2>/dev/null |
		while IFS=/ read -r namespace object; do
			log "Giving up the clean-up of $kind $object"
			"$kubectl" ${namespace:+-n "$namespace"} patch "$kind" "$object" --type merge -p '{"metadata":{"finalizers":null}}' </dev/null
		done || true
done
"$kubectl" wait --for=delete --timeout 120s -f "$manifest"
