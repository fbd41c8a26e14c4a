#!/usr/bin/env bash
# Prints the name of an image with a Debian root for checkers that are scripts, and makes sure that it is there:
# the stock debian:bookworm-slim where a container registry answers, else one made of Debian packages.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

if registry_reachable; then
	echo debian:bookworm-slim
	exit
fi
image=kubeprober/debian:bookworm
rootfs=$("$root/hack/rootfs.sh" shell bash coreutils curl ca-certificates python3-minimal)
# The label tells whether an image of an earlier list of packages has that name.
made_from=$(basename "$(dirname "$rootfs")")
if [[ $(docker image inspect --format '{{index .Config.Labels "made-from"}}' "$image" 2>/dev/null) != "$made_from" ]]; then
	log "Building $image"
	docker import --change "LABEL made-from=$made_from" --change 'CMD ["/bin/bash"]' "$rootfs" "$image" >/dev/null
fi
echo "$image"
