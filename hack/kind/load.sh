#!/usr/bin/env bash
# Loads images of the local Docker engine into the nodes of a kind cluster, all of them in one archive.
#   load.sh NAME IMAGE...
# `kind load docker-image` would ask each node with crictl, which our own node image does not have.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/kind/kind.sh"

(($# > 1)) || die "usage: load.sh NAME IMAGE..."
name=$1
shift
kind=$("$root/hack/tools/tool.sh" kind)
archive=$(mktemp -t kubeprober-images-XXXXXX.tar)
trap 'rm -f "$archive"' EXIT
docker save -o "$archive" "$@"
"$kind" load image-archive "$archive" --name "$name"
