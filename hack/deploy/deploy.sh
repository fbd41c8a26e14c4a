#!/usr/bin/env bash
# Applies deployment/APP.yaml, as it stands in the file, to the cluster of the current context and waits until what it
# deploys is up.
#   deploy.sh APP
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/deploy/manifest.sh"

manifest=$(manifest_of "${1:-}")
kubectl=$("$root/hack/kube/kubectl.sh")
log "Applying ${manifest#"$root"/}"
"$kubectl" apply --server-side=false -f "$manifest"
"$kubectl" get -f "$manifest" -o jsonpath='{range .items[?(@.kind=="Deployment")]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
	while read -r namespace deployment; do
		"$kubectl" -n "$namespace" rollout status --timeout "${DEPLOY_TIMEOUT:-180s}" "deployment/$deployment" </dev/null
	done
