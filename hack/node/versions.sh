# The versions of what goes into the node image beside Kubernetes and kind (hack/kube/go.mod and hack/tools/go.mod have
# those), and the packages of its Debian root. Sourced, never run.

containerd_version=v2.4.2
runc_version=v1.5.2
cni_version=v1.9.1
coredns_version=v1.15.0
local_path_version=v0.0.30

# busybox-static is the shell of the helper pod that makes folders for volumes.
node_packages=(
	systemd systemd-sysv dbus
	conntrack iptables nftables iproute2 ethtool util-linux mount kmod
	libseccomp2 e2fsprogs
	bash ca-certificates curl jq procps socat busybox-static
)
