#!/usr/bin/env bash
# Generates everything anew and fails when that changed a file, naming it; also when a go.mod or go.sum is not tidy.
# Changes that were in the working tree before are no failure.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# snapshot lists each file that differs from the last commit, with its content.
snapshot() {
	git status --porcelain --untracked-files=all -z | while IFS= read -r -d '' entry; do
		file=${entry:3}
		echo "$file $(git hash-object -- "$file" 2>/dev/null || echo deleted)"
	done | sort -u
}

before=$(snapshot)
make --no-print-directory generate manifests render
after=$(snapshot)
stale=$(comm -3 <(echo "$before") <(echo "$after") | awk 'NF {print $1}' | sort -u)

for module in apis tunnel master agent kubectl-probe probers e2e e2e/checkers/go tunnel/bench hack/engine hack/kube hack/kube/etcd hack/lint hack/node/pause hack/tools hack/tools/crdtrim; do
	(cd "$module" && GOWORK=off go mod tidy -diff >/dev/null) || untidy+=" $module"
done

[[ -z $stale ]] || printf 'not fresh; run make generate manifests render and commit:\n%s\n' "$stale" >&2
[[ -z ${untidy:-} ]] || printf 'not tidy; run go mod tidy there and commit:%s\n' "$untidy" >&2
[[ -z $stale${untidy:-} ]] || exit 1
log "Everything generated is fresh"
