# What the scripts of hack/kind/ share. Sourced after lib.sh, never run.

# own_image IMAGE is true for a node image built by hack/node/image.sh.
own_image() { [[ $1 == kubeprober/node:* ]]; }

# node_ip CONTAINER prints the address of a node on the network of the clusters.
node_ip() {
	docker inspect --format '{{with index .NetworkSettings.Networks "kind"}}{{.IPAddress}}{{end}}' "$1" | grep . ||
		die "container $1 has no address on the network kind"
}
