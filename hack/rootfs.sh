#!/usr/bin/env bash
# Makes a Debian bookworm root file system with the given packages, once, in the cache, and prints its tar file.
#   rootfs.sh NAME PACKAGE...
# bookworm, whatever the host runs: its systemd is the last of Debian's that starts on cgroup v1 hosts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

name=${1:?usage: rootfs.sh NAME PACKAGE...}
shift
(($# > 0)) || die "usage: rootfs.sh NAME PACKAGE..."
packages=$(printf '%s\n' "$@" | sort | paste -sd, -)

make_rootfs() {
	local dir=$1
	debian_packages debootstrap
	debootstrap --variant=minbase --include="$packages" bookworm "$dir/root" >"$cache/debootstrap-$name.log" 2>&1 ||
		die "debootstrap failed; the end of $cache/debootstrap-$name.log:
$(tail -n 15 "$cache/debootstrap-$name.log")"
	# What only apt and people read takes a third of a minimal root.
	rm -rf "$dir"/root/var/cache/apt/* "$dir"/root/var/lib/apt/lists/* "$dir"/root/usr/share/{doc,man,info,locale}/* \
		"$dir"/root/var/log/{*.log,apt,bootstrap.log}
	tar -C "$dir/root" --numeric-owner --one-file-system -cf "$dir/rootfs.tar" .
	rm -rf "$dir/root"
}

key=rootfs-$name-$(printf '%s' "$packages" | sha256sum | cut -c1-12)
cached "$key" make_rootfs
echo "$cache/$key/rootfs.tar"
