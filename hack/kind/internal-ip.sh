#!/usr/bin/env bash
# Prints the address of a kind cluster's control plane on the Docker network of the clusters: other clusters and this
# machine reach its NodePorts there.
#   internal-ip.sh NAME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/kind/kind.sh"

node_ip "${1:?usage: internal-ip.sh NAME}-control-plane"
