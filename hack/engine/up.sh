#!/usr/bin/env bash
# Ensures a usable Docker engine. A reachable one is used as it is. Otherwise, as root on Debian, docker.io is installed
# and a dockerd is started that outlives this script (down.sh stops it). Elsewhere it says what to install.
# It also makes the clusters' network; without a container registry such that nothing leaves the machine.
# Safe to call at any time, also by several makes at once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/engine/state.sh"
source "$root/hack/kind/kind.sh"

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

# ensure_network makes the network of our clusters. Those made without a registry have all they need: their network gets no
# way out, and says so at once. Networks that others made are left alone.
ensure_network() {
	local network=$KIND_EXPERIMENTAL_DOCKER_NETWORK masquerade
	docker network inspect "$network" >/dev/null 2>&1 || create_network "$network"
	masquerade=$(docker network inspect "$network" --format '{{index .Options "com.docker.network.bridge.enable_ip_masquerade"}}')
	if [[ $masquerade != false ]]; then
		allow_way_out
		return
	fi
	refuse_way_out
	! registry_reachable || log "The network $network was made without a registry, and has no way out. To give it one: delete its clusters
('make demo-down'), then: docker network rm $network"
}

create_network() {
	local mtu masquerade=false
	! registry_reachable || masquerade=true
	# As for any container: the way out may take less than Ethernet does. An engine may have no default network, though.
	mtu=$(docker network inspect bridge --format '{{index .Options "com.docker.network.driver.mtu"}}' 2>/dev/null) || true
	docker network create "$1" --driver bridge \
		--opt "com.docker.network.bridge.name=$network_bridge" \
		--opt "com.docker.network.bridge.enable_ip_masquerade=$masquerade" \
		--opt "com.docker.network.driver.mtu=${mtu:-1500}" >/dev/null
}

ensure_all() {
	ensure_engine
	ensure_network
}

with_lock engine ensure_all
