#!/usr/bin/env bash
# Builds a tool that hack/tools/go.mod or hack/lint/go.mod pins, once, into the cache, and prints the path of its binary.
#   tool.sh kind|kustomize|controller-gen|golangci-lint|crdtrim
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
export GOWORK=off CGO_ENABLED=0

build_tool() { (cd "$module" && go build -trimpath -ldflags "${flags:-} -s -w" -o "$2/$1" "$package"); }

tool=${1:?usage: tool.sh TOOL}
module=$root/hack/tools
case $tool in
kind) package=sigs.k8s.io/kind from=$package ;;
kustomize) package=sigs.k8s.io/kustomize/kustomize/v5 from=$package ;;
controller-gen) package=sigs.k8s.io/controller-tools/cmd/controller-gen from=sigs.k8s.io/controller-tools ;;
golangci-lint)
	module=$root/hack/lint
	package=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	from=github.com/golangci/golangci-lint/v2
	;;
crdtrim) ;;
*) die "no tool $tool; hack/tools/tool.sh lists those that there are" ;;
esac
if [[ $tool == crdtrim ]]; then
	# Ours: its version is its source, and the Go build cache is quick enough to tell.
	mkdir -p "$root/bin"
	(cd "$root/hack/tools/crdtrim" && go build -trimpath -o "$root/bin/crdtrim" .)
	echo "$root/bin/crdtrim"
	exit
fi
version=$(module_version "$module" "$from")
# The tool reads Go source: one built with another Go may not know its syntax.
name=$tool-$version-$(go env GOVERSION)
cached "$name" build_tool "$tool"
echo "$cache/$name/$tool"
