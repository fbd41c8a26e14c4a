#!/usr/bin/env bash
# Deletes kind clusters that create.sh made; one that is not there is fine. When one of them is somebody else's it deletes
# none.
#   delete.sh NAME...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/kind/kind.sh"

(($# > 0)) || die "usage: delete.sh NAME..."
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || die "no Docker engine answers; 'make engine' starts one"
require_ours "$@"
kind=$("$root/hack/tools/tool.sh" kind)
for name; do
	"$kind" delete cluster -q --name "$name" --kubeconfig "$root/bin/kind/$name.kubeconfig"
	rm -f "$root/bin/kind/$name.kubeconfig"
done
