#!/usr/bin/env bash
# Shows Kubeprober on real clusters: makes the kind clusters master, erda-cloud and edge-2, deploys the master and an agent
# in each of the others, attaches probes, and walks through what a user does. All of it is left running to play with, with
# bin/demo/{master,erda-cloud,edge-2}.kubeconfig and bin/kubectl-probe; hack/demo/down.sh removes it.
# May be run again at any time, and starts anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/demo/demo.sh"

# step TITLE COMMAND... runs a part of the demo and tells how long it took.
step() {
	local title=$1 started=$SECONDS
	shift
	log "$title"
	"$@"
	durations+=("$(printf '%5d s  %s' $((SECONDS - started)) "$title")")
}

build() {
	make --no-print-directory -C "$root" images >&2
	make --no-print-directory -C "$root/kubectl-probe" build >&2
}

# together COMMAND NAME... runs COMMAND NAME for all names at once, and fails when one of them does.
together() {
	local command=$1 name pids=() failed=0
	shift
	for name; do
		"$command" "$name" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
	((failed == 0)) || die "$command failed; see above"
}

create_cluster() {
	local images=()
	"$root/hack/kind/create.sh" "$1" --kubeconfig "$(kubeconfig "$1")"
	mapfile -t images < <(images_for "$1")
	"$root/hack/kind/load.sh" "$1" "${images[@]}"
}

images_for() {
	case $1 in
	"$master") image_names master ;;
	*) image_names agent tunnel probers ;;
	esac
}

image_names() {
	local module
	for module; do make --silent --no-print-directory -C "$root/$module" image-names; done
}

# manifest NAME APP PATTERN=TEXT... leaves a copy of deployment/APP.yaml for the cluster, edited as a user does: every
# PATTERN becomes TEXT. Prints its path. The file itself stays as it is.
manifest() {
	local copy edit text
	copy=$demo/$1-$2.yaml
	text=$(cat "$root/deployment/$2.yaml")
	for edit in "${@:3}"; do
		[[ $text == *"${edit%%=*}"* ]] || die "deployment/$2.yaml has no '${edit%%=*}' to edit"
		text=${text//"${edit%%=*}"/"${edit#*=}"}
	done
	(umask 077 && printf '%s\n' "$text" >"$copy")
	echo "$copy"
}

deploy_master() {
	local copy
	copy=$(manifest "$master" probe-master "your-token-here=$secret")
	APP=probe-master KUBECONFIG=$(kubeconfig "$master") make --no-print-directory -C "$root" deploy MANIFEST="$copy" >&2
	# The agents are in other clusters: they reach the master at a port of its node.
	kube "$master" -n kubeprober patch service probe-master --patch \
		"{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":8088,\"nodePort\":$node_port}]}}" >&2
}

deploy_agent() {
	local copy
	copy=$(manifest "$1" probe-agent "your-token-here=$secret" "cluster_name: erda-cloud=cluster_name: $1" \
		"http://probe-master.kubeprober.svc.cluster.local:8088=http://$master_ip:$node_port")
	APP=probe-agent KUBECONFIG=$(kubeconfig "$1") make --no-print-directory -C "$root" deploy MANIFEST="$copy" >&2
}

attach_probes() {
	local cluster
	for cluster in "${managed[@]}"; do
		kube "$master" wait --for=create --timeout 60s "cluster/$cluster" >/dev/null
		kube "$master" wait --for=condition=Connected --timeout 60s "cluster/$cluster" >/dev/null
	done
	local probe
	for probe in k8s host demo; do
		kube "$master" apply -n default -f "$root/probers/config/samples/$probe.yaml"
	done
	kube "$master" label cluster erda-cloud probe/k8s=true
	kube "$master" label cluster edge-2 probe/k8s=true probe/host=true probe/demo=true
}

await_ready() {
	# The reason, too: without probes a cluster is Ready already.
	local reason='jsonpath={.status.conditions[?(@.type=="Ready")].reason}'
	kube "$master" wait --for="$reason=CheckersPass" --timeout 180s "${managed[@]/#/cluster/}" >/dev/null &&
		kube "$master" wait --for=condition=Ready --timeout 180s "${managed[@]/#/cluster/}" && return
	kube "$master" describe clusters.kubeprober.erda.cloud >&2
	die "the clusters did not become Ready; 'hack/demo/down.sh' removes the demo, or look around:
  export KUBECONFIG=$(kubeconfig "$master")"
}

# show COMMAND... prints a command as a user types it, and runs it.
show() {
	printf '\n$ %s\n' "$*"
	"$@"
}

walk_through() {
	local id
	export KUBECONFIG
	KUBECONFIG=$(kubeconfig "$master")
	show kubectl get cluster
	show kubectl probe status -c erda-cloud
	show kubectl probe status -c edge-2
	show kubectl probe once -c erda-cloud
	show kubectl probe oncestatus -c erda-cloud -l
	id=$(kubectl probe oncestatus -c erda-cloud -l | awk 'NR == 2 {print $1}')
	show kubectl probe oncestatus -c erda-cloud -i "$id"
}

how_to_play_on() {
	echo
	printf '%s\n' "${durations[@]}"
	printf '%5d s  in all\n' "$SECONDS"
	cat <<EOF

All of it is left running. To play on:
  export PATH=$root/bin:\$PATH KUBECONFIG=$(kubeconfig "$master")
  kubectl get cluster -o wide
  kubectl probe once -c edge-2 -p host
  kubectl label cluster erda-cloud probe/demo=true
The managed clusters themselves: --kubeconfig $(kubeconfig erda-cloud) and $(kubeconfig edge-2)
'make demo-down' removes it.
EOF
}

durations=()
# The manifests name the images of the default tag.
unset TAG
secret=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
mkdir -p "$demo" "$root/bin"

step "Ensuring a Docker engine" "$root/hack/engine/up.sh"
step "Deleting what an earlier demo left" remove_demo
step "Building the images and the plugin" build
# One makes what all need, so that three do not wait for each other.
step "Ensuring the node image" "$root/hack/node/image.sh"
step "Creating the clusters ${clusters[*]}" together create_cluster "${clusters[@]}"
use_kubectl
master_ip=$("$root/hack/kind/internal-ip.sh" "$master")
step "Deploying the master" deploy_master
step "Deploying the agents" together deploy_agent "${managed[@]}"
step "Attaching probes" attach_probes
step "Waiting until both clusters are Ready" await_ready
step "Walking through" walk_through
how_to_play_on
