#!/usr/bin/env bash
# Prints the path of the kubectl that the scripts use: the one of the machine, else the one of `make envtest`.
set -euo pipefail
command -v kubectl || echo "$("$(dirname "${BASH_SOURCE[0]}")/build.sh" envtest)/kubectl"
