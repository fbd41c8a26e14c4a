#!/usr/bin/env bash
# Prints the name of an image with a Debian root for checkers that are scripts, and makes sure that it is there: made
# from the stock image where a container registry answers, else of Debian packages; with the same programs either way.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

image=kubeprober/debian:bookworm
packages=(bash coreutils curl ca-certificates python3)
# The label tells whether the image that has the name is of this list of packages.
label=kubeprober.made-from
made_from=$(printf '%s ' "${packages[@]}" | sha256sum | cut -c1-12)

build() {
	if [[ $(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) == "$made_from" ]]; then
		return
	fi
	log "Building $image"
	if registry_reachable; then
		local context=$root/bin/image/debian
		mkdir -p "$context"
		printf '%s\n' 'FROM debian:bookworm-slim' \
			"RUN apt-get update && apt-get install -y --no-install-recommends ${packages[*]} && rm -rf /var/lib/apt/lists/*" \
			"LABEL $label=$made_from" 'CMD ["/bin/bash"]' >"$context/Dockerfile"
		docker_build -t "$image" "$context"
	else
		local rootfs
		rootfs=$("$root/hack/rootfs.sh" shell "${packages[@]}")
		docker import --change "LABEL $label=$made_from" --change 'CMD ["/bin/bash"]' "$rootfs" "$image" >/dev/null
	fi
}

with_lock debian-root build
echo "$image"
