#!/usr/bin/env bash
# Prints the name of the node image for kind clusters and makes sure that the Docker engine can use it.
# KIND_NODE_IMAGE names one; else, with a container registry in reach, it is the stock image (kind pulls it); else it is
# built here from Go modules and Debian packages, and kept as a file in the cache for an engine with an empty store.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$root/hack/node/versions.sh"
export GOWORK=off

here=$root/hack/node
kube_version=$(module_version "$root/hack/kube" k8s.io/kubernetes)

# stage_root fills ROOT with all files of a node: the Debian root, those of kind's base image, the binaries.
stage_root() {
	local dir=$1 kind_files kube envtest bin
	kind_files=$(module_dir "$root/hack/tools" sigs.k8s.io/kind)/images/base/files
	kube=$("$root/hack/kube/build.sh" node)
	envtest=$("$root/hack/kube/build.sh" envtest)
	bin=$("$here/binaries.sh")

	mkdir -p "$dir"
	tar -C "$dir" --numeric-owner -xf "$("$root/hack/rootfs.sh" node "${node_packages[@]}")"
	for from in "$kind_files" "$here/files"; do
		# The module cache is read-only: only the executable bit and the content count.
		(cd "$from" && tar --owner 0 --group 0 --mode 'u+w,go+rX' --no-same-owner -cf - .) |
			tar -C "$dir" --no-overwrite-dir --no-same-owner -xf -
	done
	chmod 755 "$dir"/usr/local/bin/* "$dir"/kind/bin/*

	mkdir -p "$dir/opt/cni/bin" "$dir/etc/kubernetes/manifests" "$dir/etc/cni/net.d"
	install -m 755 "$kube"/kube{adm,let} "$envtest/kubectl" "$dir/usr/bin/"
	install -m 755 "$bin"/{containerd,ctr,containerd-shim-runc-v2} "$dir/usr/local/bin/"
	install -m 755 "$bin/runc" "$dir/usr/local/sbin/"
	install -m 755 "$bin"/cni/* "$dir/opt/cni/bin/"
	echo "$kube_version" >"$dir/kind/version"
}

# configure_root does to ROOT what the build of kind's base and node images does, and what this kind of machine needs.
configure_root() {
	local dir=$1 units=$1/lib/systemd/system
	rm -f "$units"/multi-user.target.wants/* "$dir"/etc/systemd/system/*.wants/* "$units"/local-fs.target.wants/* \
		"$units"/sockets.target.wants/{*udev*,*initctl*} "$units"/basic.target.wants/* \
		"$units"/sysinit.target.wants/systemd-tmpfiles-setup.service
	echo "ReadKMsg=no" >>"$dir/etc/systemd/journald.conf"
	chroot "$dir" systemctl enable kubelet.service containerd.service undo-mount-hacks.service 2>/dev/null
	chroot "$dir" systemctl mask systemd-binfmt.service 2>/dev/null

	# What every container starts from: with kind's hook, and without limits that would override the node's.
	chroot "$dir" /usr/local/bin/ctr oci spec |
		chroot "$dir" jq 'del(.process.rlimits) | .hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}]' \
			>"$dir/etc/containerd/cri-base.json"

	# kubelet still runs on a cgroup v1 host when it is told to.
	replace_in "$dir/etc/default/kubelet" '^KUBELET_EXTRA_ARGS=' 's/$/ --fail-cgroupv1=false/'
	# Without CAP_SYS_RESOURCE no process can lower its OOM score, which pods ask for.
	replace_in "$dir/etc/containerd/config.toml" 'restrict_oom_score_adj = false' 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/'
	# The network of these clusters leads nowhere: a question for the host's name in Docker Desktop would cost five seconds.
	replace_in "$dir/usr/local/bin/entrypoint" "timeout 5 getent ahostsv4 'host.docker.internal'" "s/timeout 5 getent ahostsv4 'host.docker.internal'/false/"
	storage_manifest >"$dir/kind/manifests/default-storage.yaml"
}

# replace_in FILE PATTERN SED edits the lines with PATTERN, which must be there: kind's files may change.
replace_in() {
	grep -q "$2" "$1" || die "$1 no longer has $2; see what changed in kind and mend hack/node/image.sh"
	sed -i "/$2/$3" "$1"
}

# kind keeps the manifest of its default StorageClass as a Go constant.
storage_source() { cat "$(module_dir "$root/hack/tools" sigs.k8s.io/kind)/pkg/build/nodeimage/const_storage.go"; }
storage_image() { storage_source | sed -n "s/^const $1 = \"\(.*\)\"$/\1/p"; }
storage_manifest() {
	storage_source | sed -n '/^const defaultStorageManifest = `$/,/^`$/p' | sed '1d;$d' | sed \
		-e "s|\` + storageProvisionerImage + \`|$(storage_image storageProvisionerImage)|" \
		-e "s|\` + storageHelperImage + \`|$(storage_image storageHelperImage)|"
}

# component_image NAME CONTEXT builds an image of nothing but the files in CONTEXT.
component_image() {
	printf 'FROM scratch\nCOPY . /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' >"$2.Dockerfile"
	[[ -z ${3:-} ]] || printf 'ENTRYPOINT ["%s"]\n' "$3" >>"$2.Dockerfile"
	docker_build -t "$1" -f "$2.Dockerfile" "$2"
}

# copy_with_libraries ROOT TO BINARY... copies binaries of ROOT and the libraries that they load.
copy_with_libraries() {
	local from=$1 to=$2
	shift 2
	chroot "$from" ldd "$@" | grep -oE '/[^ :]+' | sort -u | while read -r file; do
		install -D "$(readlink -f "$from$file")" "$to$file"
	done
	for file; do install -D -m 755 "$from$file" "$to$file"; done
}

# build_components WORK ROOT makes the images that kubeadm and kind want under the names that they want, and prints those.
build_components() {
	local work=$1 dir=$2 name image
	local kube envtest bin
	kube=$("$root/hack/kube/build.sh" node)
	envtest=$("$root/hack/kube/build.sh" envtest)
	bin=$("$here/binaries.sh")
	local wanted=()
	mapfile -t wanted < <("$kube/kubeadm" config images list --kubernetes-version "$kube_version" 2>/dev/null | grep -v /pause:)
	wanted+=("$(sed -n 's/^ *sandbox_image = "\(.*\)"$/\1/p' "$dir/etc/containerd/config.toml")")
	wanted+=("$(storage_image storageProvisionerImage)" "$(storage_image storageHelperImage)")

	for image in "${wanted[@]}"; do
		name=${image##*/}
		name=${name%%:*}
		local context=$work/$name entrypoint=
		mkdir -p "$context/usr/local/bin"
		case $name in
		kube-apiserver | etcd) cp "$envtest/$name" "$context/usr/local/bin/" ;;
		kube-controller-manager | kube-scheduler) cp "$kube/$name" "$context/usr/local/bin/" ;;
		kube-proxy)
			cp "$kube/$name" "$context/usr/local/bin/"
			copy_with_libraries "$dir" "$context" /usr/sbin/nft
			;;
		coredns)
			cp "$bin/coredns" "$context/coredns"
			entrypoint=/coredns
			;;
		pause)
			cp "$bin/pause" "$context/pause"
			entrypoint=/pause
			;;
		local-path-provisioner) cp "$bin/local-path-provisioner" "$context/usr/local/bin/" ;;
		local-path-helper)
			install -D -m 755 "$dir/bin/busybox" "$context/bin/busybox"
			for applet in sh mkdir rm; do ln -s busybox "$context/bin/$applet"; done
			;;
		*) die "kubeadm or kind asks for the image $image, which hack/node/image.sh cannot build" ;;
		esac
		component_image "$image" "$context" "$entrypoint"
		echo "$image"
	done
}

# load_components BASE IMAGE COMPONENT... puts the components into the store of the containerd in BASE, and the result into IMAGE.
load_components() {
	local base=$1 image=$2 container
	shift 2
	container=$(docker run -d --privileged --entrypoint sleep "$base" infinity)
	# The subshell that holds the lock ends with this build.
	# shellcheck disable=SC2064 # the container of now
	trap "docker rm -f -v $container >/dev/null" EXIT
	docker exec -d "$container" containerd
	docker exec "$container" bash -c 'until ctr version >/dev/null 2>&1; do sleep 0.1; ((++n < 300)) || exit 1; done'
	docker save "$@" | docker exec -i "$container" \
		ctr -n k8s.io images import --label io.cri-containerd.pinned=pinned --all-platforms --no-unpack - >/dev/null
	docker exec "$container" pkill --signal TERM containerd
	docker exec "$container" bash -c 'while pgrep -x containerd >/dev/null; do sleep 0.1; done'
	docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' --change 'CMD []' "$container" "$image" >/dev/null
	docker rm -f -v "$container" >/dev/null
	trap - EXIT
	docker rmi "$@" >/dev/null
}

# build_image DIR makes the image and leaves it in DIR/image.tar.
build_image() {
	local dir=$1 components=()
	mkdir -p "$dir/context"
	stage_root "$dir/root"
	mkdir -p "$dir/root/kind/manifests"
	configure_root "$dir/root"
	build_components "$dir/components" "$dir/root" >"$dir/components.list"
	mapfile -t components <"$dir/components.list"

	tar -C "$dir/root" --numeric-owner -cf "$dir/context/root.tar" .
	printf '%s\n' 'FROM scratch' 'ADD root.tar /' 'ENV container=docker' 'STOPSIGNAL SIGRTMIN+3' >"$dir/context/Dockerfile"
	docker_build -t "$image-base" "$dir/context"
	load_components "$image-base" "$image" "${components[@]}"
	docker rmi "$image-base" >/dev/null
	rm -rf "$dir"/{root,components,components.list,context}
	docker save -o "$dir/image.tar" "$image"
}

if [[ -n ${KIND_NODE_IMAGE:-} ]]; then
	echo "$KIND_NODE_IMAGE"
	exit
fi
if registry_reachable; then
	echo "$stock_node_image"
	exit
fi

inputs=$(cd "$root/hack" && find node kube/build.sh kube/go.mod kube/etcd/go.mod tools/go.mod rootfs.sh -type f -print0 |
	sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
image=kubeprober/node:$kube_version-$inputs
saved=node-image-$kube_version-$inputs
cached "$saved" build_image
load_image() { docker image inspect "$image" >/dev/null 2>&1 || docker load -q -i "$cache/$saved/image.tar" >/dev/null; }
with_lock "$saved" load_image
echo "$image"
