#!/usr/bin/env bash
# Prints the folder with etcd, kube-apiserver and kubectl for KUBEBUILDER_ASSETS; `make envtest` builds what it lacks.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/build.sh" envtest
