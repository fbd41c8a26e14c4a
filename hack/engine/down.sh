#!/usr/bin/env bash
# Stops the Docker engine that up.sh started, and no other. Its images, volumes and networks stay; up.sh's rule for the
# clusters' network goes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/engine/state.sh"

stop() {
	local pid deadline=$((SECONDS + 60))
	pid=$(cat "$engine/dockerd.pid" 2>/dev/null) || true
	if ! is_process "$pid" dockerd; then
		log "No Docker engine of ours runs"
	else
		log "Stopping dockerd $pid"
		kill "$pid"
		while is_process "$pid" dockerd; do
			((SECONDS < deadline)) || die "dockerd $pid has not ended within a minute of SIGTERM; see $engine/dockerd.log"
			sleep 0.2
		done
	fi
	rm -f "$engine/dockerd.pid"
	allow_way_out
}

with_lock engine stop
