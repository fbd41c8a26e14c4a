# What deploy.sh and undeploy.sh share. Sourced after lib.sh, never run.

# manifest_of APP prints the file that deploys APP.
manifest_of() {
	local known
	known=$(cd "$root/deployment" 2>/dev/null && printf '%s\n' *.yaml | sed 's/\.yaml$//' | paste -sd' ' -)
	[[ -n $1 ]] || die "name what to deploy: APP=<one of: $known> make deploy"
	[[ -e $root/deployment/$1.yaml ]] || die "there is no deployment/$1.yaml; APP must be one of: $known"
	echo "$root/deployment/$1.yaml"
}
