# Functions that the scripts of hack/ share: where things are kept, and how a thing is made once.
# Sourced, never run:  source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The root of the repository.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Everything that is built once and kept between clones: <what>-<version>/.
cache=${KUBEPROBER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kubeprober}

# The node image of kind v0.33.0 with the minor version of hack/kube/go.mod: used where a registry answers.
stock_node_image=kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5

log() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# with_lock NAME COMMAND... runs COMMAND while no other process holds the lock of that name.
# The lock is released when this process ends, however it ends; COMMAND must not leave a daemon that keeps descriptor 9.
with_lock() {
	local name=$1
	shift
	mkdir -p "$cache/locks"
	(
		exec 9>"$cache/locks/$name"
		flock 9
		"$@"
	)
}

# cached NAME COMMAND... makes the folder $cache/NAME unless it is there: COMMAND gets the path of an empty folder to
# fill as its last argument. The folder gets its name only when COMMAND has succeeded, so an interrupted build leaves
# nothing that looks complete; of two makes at once, one builds and the other waits.
cached() {
	local name=$1
	shift
	[[ -d $cache/$name ]] || with_lock "$name" fill_cache "$name" "$@"
}

fill_cache() {
	local name=$1 partial=$cache/$1.partial
	shift
	[[ ! -d $cache/$name ]] || return 0
	rm -rf "$partial"
	mkdir -p "$partial"
	log "Building $name (kept in $cache)"
	"$@" "$partial"
	mv -T "$partial" "$cache/$name"
}

# module_version DIR MODULE prints the version of MODULE that the go.mod in DIR requires.
module_version() {
	(cd "$1" && GOWORK=off go list -m -f '{{.Version}}' "$2")
}

# module_dir DIR MODULE prints the folder that holds the source of MODULE, downloading it if need be.
module_dir() {
	(cd "$1" && GOWORK=off go mod download "$2" && GOWORK=off go list -m -f '{{.Dir}}' "$2")
}

# registry_reachable is true when a container registry answers; then images are pulled instead of built.
# KUBEPROBER_REGISTRY=yes or =no decides without asking.
registry_reachable() {
	case ${KUBEPROBER_REGISTRY:-} in
	yes) return 0 ;;
	no) return 1 ;;
	'') timeout 15 docker manifest inspect "$stock_node_image" >/dev/null 2>&1 ;;
	*) die "KUBEPROBER_REGISTRY is '$KUBEPROBER_REGISTRY'; it must be yes, no or unset" ;;
	esac
}

# debian_packages PACKAGE... installs those of the packages that the machine lacks.
debian_packages() {
	local missing=() p
	for p; do
		[[ $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) == "install ok installed" ]] || missing+=("$p")
	done
	((${#missing[@]} > 0)) || return 0
	[[ $(id -u) == 0 && -e /etc/debian_version ]] ||
		die "building without a container registry needs the Debian packages ${missing[*]}; install them, or give this machine access to a registry"
	log "Installing ${missing[*]}"
	with_lock apt apt_install "${missing[@]}"
}

apt_install() {
	apt-get update -q >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

# docker_build ARGUMENT... is docker build that speaks only when it fails: an engine without buildx prints a warning a build.
docker_build() {
	local output
	output=$(docker build "$@" 2>&1) || die "docker build $*:
$output"
}
