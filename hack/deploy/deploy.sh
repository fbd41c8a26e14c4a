#!/usr/bin/env bash
# Applies deployment/APP.yaml, as it stands in the file, to the cluster of the current context and waits until what it
# deploys is up.
#   deploy.sh APP
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/deploy/manifest.sh"

manifest=$(manifest_of "${1:-}")
kubectl=$("$root/hack/kube/kubectl.sh")

# require_policies stops where the server lacks a kind that the manifest has, before half of it is applied.
require_policies() {
	grep -q '^kind: ValidatingAdmissionPolicy' "$manifest" || return 0
	local version major minor
	version=$("$kubectl" get --raw /version)
	major=$(sed -n 's/.*"major": *"\([0-9]*\).*/\1/p' <<<"$version")
	minor=$(sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p' <<<"$version")
	[[ -n $major && -n $minor ]] || die "the cluster of the current context tells no version of Kubernetes: $version"
	((major > 1 || minor >= 30)) || die "the cluster of the current context has Kubernetes $major.$minor; ${manifest#"$root"/} needs 1.30 or
newer, for its ValidatingAdmissionPolicies. Upgrade the cluster, or choose another one: kubectl config use-context NAME"
}

require_policies
log "Applying ${manifest#"$root"/}"
"$kubectl" apply --server-side=false -f "$manifest"
"$kubectl" get -f "$manifest" -o jsonpath='{range .items[?(@.kind=="Deployment")]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
	while read -r namespace deployment; do
		"$kubectl" -n "$namespace" rollout status --timeout "${DEPLOY_TIMEOUT:-180s}" "deployment/$deployment" </dev/null
	done
