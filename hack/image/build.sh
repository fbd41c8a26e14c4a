#!/usr/bin/env bash
# Builds the image kubeprober/NAME:$TAG of a module from binaries that are in bin/ already.
#   build.sh MODULE NAME BINARY[,BINARY...]
# The Dockerfile is MODULE/images/NAME/Dockerfile, with all other files of that folder beside the binaries and
# ca-certificates.crt in its context; else the one here. It gets the build arguments that it declares of these:
#   BINARY  the first binary, also the entry point of the Dockerfile here
#   TAG     the tag of this build, for a FROM of another image of ours
#   DEBIAN  a Debian root with a shell
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

usage='usage: build.sh MODULE NAME BINARY[,BINARY...]'
module=${1:?$usage} name=${2:?$usage}
IFS=, read -ra binaries <<<"${3:?$usage}"
image=kubeprober/$name:${TAG:?set TAG to the tag of the image}

context=$root/bin/image/$name
own=$root/$module/images/$name
dockerfile=$root/hack/image/Dockerfile
rm -rf "$context"
mkdir -p "$context"
if [[ -e $own/Dockerfile ]]; then
	cp -a "$own/." "$context/"
	dockerfile=$own/Dockerfile
fi
for binary in "${binaries[@]}"; do
	[[ -x $root/bin/$binary ]] || die "bin/$binary is not there; build it first (make build)"
	cp "$root/bin/$binary" "$context/"
done
cp "$("$root/hack/image/ca-certificates.sh")" "$context/ca-certificates.crt"

arguments=()
declares() { grep -qE "^ARG $1\b" "$dockerfile"; }
! declares BINARY || arguments+=(--build-arg "BINARY=${binaries[0]}")
! declares TAG || arguments+=(--build-arg "TAG=$TAG")
if declares DEBIAN; then
	debian=$("$root/hack/image/debian-root.sh")
	arguments+=(--build-arg "DEBIAN=$debian")
fi
# The shared Dockerfile cannot name the entry point: ENTRYPOINT in its exec form takes no build argument.
if [[ $dockerfile == "$root/hack/image/Dockerfile" ]]; then
	cp "$dockerfile" "$context/Dockerfile"
	printf 'ENTRYPOINT ["/%s"]\n' "${binaries[0]}" >>"$context/Dockerfile"
	dockerfile=$context/Dockerfile
fi

log "Building $image"
before=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) || true
docker_build "${arguments[@]}" -t "$image" -f "$dockerfile" "$context"
# The image that had the name before is of no use to anybody, unless a container or another image still needs it.
[[ -z $before || $before == $(docker image inspect --format '{{.Id}}' "$image") ]] ||
	docker rmi "$before" >/dev/null 2>&1 || true
