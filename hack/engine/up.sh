#!/usr/bin/env bash
# Ensures a usable Docker engine. A reachable one is used as it is. Otherwise, as root on Debian, docker.io is installed
# and a dockerd is started that outlives this script (down.sh stops it). Elsewhere it says what to install.
# Without a container registry it also makes kind's network such that nothing leaves the machine.
# Safe to call at any time, also by several makes at once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/engine/state.sh"

reachable() { timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

require_own_machine() {
	[[ -z ${DOCKER_HOST:-} ]] || die "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST; start it, or unset DOCKER_HOST"
	[[ $(id -u) == 0 && -e /etc/debian_version ]] || die "no Docker engine answers. Install one and start it
  (https://docs.docker.com/engine/install/, or Docker Desktop, Colima, Rancher Desktop), see that 'docker version' shows
  a server, and run this again. Only as root on Debian it is installed and started by itself."
}

install_packages() {
	if ! command -v dockerd >/dev/null || ! command -v runc >/dev/null || ! command -v iptables >/dev/null; then
		debian_packages docker.io iptables
	fi
}

# clear_leftovers removes what a dockerd that was cut off left behind; with it in place a new one refuses to start or
# takes a foreign process for its containerd. State of containers that still run is left for dockerd to clean up.
clear_leftovers() {
	if ! is_process "$(cat /var/run/docker.pid 2>/dev/null)" dockerd; then
		rm -f /var/run/docker.pid /var/run/docker.sock
	fi
	if ! is_process "$(cat /var/run/docker/containerd/containerd.pid 2>/dev/null)" containerd; then
		rm -f /var/run/docker/containerd/containerd.pid /var/run/docker/containerd/*.sock*
		pgrep -f 'containerd-shim.* -address /(var/)?run/docker/' >/dev/null || remove_run_directory
	fi
}

# Network namespaces and file systems of containers that are gone may still be mounted there; what cannot be unmounted
# rm names.
remove_run_directory() {
	local run mounted
	run=$(realpath -m /var/run/docker)
	mapfile -t mounted < <(awk -v run="$run/" 'index($2, run) == 1 {print $2}' /proc/self/mounts | sort -r)
	((${#mounted[@]} == 0)) || umount "${mounted[@]}" 2>/dev/null || true
	rm -rf --one-file-system "$run"
}

build_runtime() {
	mkdir -p "$engine"
	(cd "$root/hack/engine" && GOWORK=off CGO_ENABLED=0 go build -trimpath -o "$engine/capped-runc.new" ./capped-runc)
	mv "$engine/capped-runc.new" "$engine/capped-runc"
}

start() {
	log "Starting dockerd (log: $engine/dockerd.log)"
	# The limit cannot be raised on every machine; dockerd also works with the one that it gets.
	ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)"
	# Descriptor 9 is the lock: dockerd must not keep it. A session of its own lets dockerd outlive this make.
	setsid --fork dockerd \
		--add-runtime "capped=$engine/capped-runc" --default-runtime capped \
		</dev/null >>"$engine/dockerd.log" 2>&1 9>&-
	wait_reachable
	cat /var/run/docker.pid >"$engine/dockerd.pid"
}

wait_reachable() {
	local deadline=$((SECONDS + 60))
	until reachable; do
		((SECONDS < deadline)) || die "dockerd did not answer within a minute; the end of $engine/dockerd.log:
$(tail -n 20 "$engine/dockerd.log" 2>/dev/null)"
		sleep 0.2
	done
}

ensure_engine() {
	! reachable || return 0
	require_own_machine
	# A dockerd that runs and does not answer yet is still starting, or installing the package has just started it.
	install_packages
	if is_process "$(cat /var/run/docker.pid 2>/dev/null)" dockerd; then
		wait_reachable
		return 0
	fi
	clear_leftovers
	build_runtime
	start
}

# Clusters made without a registry have all they need: their network gets no way out, and says so at once.
ensure_network() {
	! registry_reachable || return 0
	docker network inspect kind >/dev/null 2>&1 || docker network create kind --driver bridge \
		--opt com.docker.network.bridge.enable_ip_masquerade=false \
		--opt com.docker.network.driver.mtu=1500 >/dev/null
	# Only where the bridge and its engine are this machine's, and we may.
	local bridge
	bridge=br-$(docker network inspect kind --format '{{.Id}}' | cut -c1-12)
	if [[ $(id -u) == 0 && -e /sys/class/net/$bridge ]] && command -v iptables >/dev/null; then
		local way_out=(DOCKER-USER -i "$bridge" ! -o "$bridge" -m conntrack --ctstate NEW -j REJECT)
		iptables -C "${way_out[@]}" 2>/dev/null || iptables -I "${way_out[@]}"
	fi
}

ensure_all() {
	ensure_engine
	ensure_network
}

with_lock engine ensure_all
