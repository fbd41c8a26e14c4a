# What deploy.sh and undeploy.sh share. Sourced after lib.sh, never run.

# manifest_of APP prints the file that deploys APP: MANIFEST when it is set, for an edited copy outside the repository.
manifest_of() {
	if [[ -n ${MANIFEST:-} ]]; then
		[[ -e $MANIFEST ]] || die "MANIFEST names $MANIFEST, which is not there"
		realpath "$MANIFEST"
		return
	fi
	local known
	known=$(cd "$root/deployment" 2>/dev/null && printf '%s\n' *.yaml | sed 's/\.yaml$//' | paste -sd' ' -)
	[[ -n $1 ]] || die "name what to deploy: APP=<one of: $known> make deploy"
	[[ -e $root/deployment/$1.yaml ]] || die "there is no deployment/$1.yaml; APP must be one of: $known"
	echo "$root/deployment/$1.yaml"
}
