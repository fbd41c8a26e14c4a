# What the scripts of hack/demo/ share. Sourced after lib.sh, never run.

master=master
managed=(erda-cloud edge-2)
clusters=("$master" "${managed[@]}")
# Where the agents reach the master, on its node.
node_port=30088
demo=$root/bin/demo

kubeconfig() { echo "$demo/$1.kubeconfig"; }

# use_kubectl puts kubectl and its plugin on the PATH of this script.
use_kubectl() {
	PATH=$root/bin:$(dirname "$("$root/hack/kube/kubectl.sh")"):$PATH
	export PATH
}

# kube NAME ARGS... runs kubectl as the administrator of a cluster.
kube() { kubectl --kubeconfig "$(kubeconfig "$1")" "${@:2}"; }

remove_demo() {
	"$root/hack/kind/delete.sh" "${clusters[@]}"
	rm -rf "$demo"
	mkdir -p "$demo"
}
