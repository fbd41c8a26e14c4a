# What the scripts that deal with kind clusters share. Sourced after lib.sh, never run.

# The Docker network of our clusters, and of no others: to be on it is what makes a cluster ours. kind reads the variable.
export KIND_EXPERIMENTAL_DOCKER_NETWORK=kubeprober

# own_image IMAGE is true for a node image built by hack/node/image.sh.
own_image() { [[ $1 == kubeprober/node:* ]]; }

# node_ip CONTAINER prints the address of a node on the network of the clusters.
node_ip() {
	docker inspect --format "{{with index .NetworkSettings.Networks \"$KIND_EXPERIMENTAL_DOCKER_NETWORK\"}}{{.IPAddress}}{{end}}" "$1" | grep . ||
		die "container $1 has no address on the network $KIND_EXPERIMENTAL_DOCKER_NETWORK"
}

# require_ours NAME... ends the script when one of the clusters is there, running or not, and was not made by create.sh.
require_ours() {
	local name nodes node networks
	for name; do
		nodes=$(docker ps --all --filter "label=io.x-k8s.kind.cluster=$name" --format '{{.Names}} {{.Networks}}')
		while read -r node networks; do
			[[ -z $node || ,$networks, == *",$KIND_EXPERIMENTAL_DOCKER_NETWORK,"* ]] ||
				die "there is a kind cluster $name that Kubeprober's scripts did not make: its node $node is not on the Docker network $KIND_EXPERIMENTAL_DOCKER_NETWORK.
It was left as it is. If you do not need it, delete it and run this again: kind delete cluster --name $name"
		done <<<"$nodes"
	done
}
