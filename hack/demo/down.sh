#!/usr/bin/env bash
# Removes the demo's clusters and what hack/demo/up.sh left in bin/demo/. Fine when there is none.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/demo/demo.sh"

remove_demo
rm -rf "$demo"
