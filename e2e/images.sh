#!/usr/bin/env bash
# Builds the images kubeprober/e2e-*:$TAG that only the end-to-end suites need: the checkers of checkers/, each as the author of a
# checker would build it, and those of images/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../hack/lib.sh"

tag=${TAG:?set TAG to the tag of the images}

# build NAME FOLDER builds an image of a folder that has a Dockerfile. A folder with a Go module gets its binary, checker.
build() {
	local image=kubeprober/e2e-$1:$tag from=$2 context=$root/bin/image/e2e-$1 arguments=()
	rm -rf "$context"
	mkdir -p "$context"
	cp -a "$from/." "$context/"
	[[ ! -e $from/go.mod ]] || (cd "$from" && GOWORK=off CGO_ENABLED=0 go build -trimpath -o "$context/checker" .)
	! grep -q '^ARG TAG' "$from/Dockerfile" || arguments+=(--build-arg "TAG=$tag")
	log "Building $image"
	docker_build "${arguments[@]}" -t "$image" "$context"
}

for language in shell go python; do build "checker-$language" "$root/e2e/checkers/$language"; done
build as-root "$root/e2e/images/as-root"
