#!/bin/bash
# Runs every /checkers/NAME/main at once. What a checker writes to its standard output is reported: one result a line,
#   name ok|info|warn|error|unknown message
# Its standard error is the log of the pod. A checker may also call report-status itself.
# A checker that fails, or runs longer than the run has time, is reported as UNKNOWN under the name of its folder.
# The exit status is 0 when everything was reported, and never 1: in a container that has reported nothing that means ERROR.
set -uo pipefail

checkers=${CHECKERS_DIR:-/checkers}
work=$(mktemp -d) || exit 2
pids=()

# On SIGTERM the checkers are ended, and what they wrote until then is still reported. timeout passes the signal on to the
# process group that it makes for its checker, so that what the checker started ends too.
stop() {
	trap '' TERM INT
	local pid file
	for file in "$work"/*.pid; do
		[[ -s $file ]] && read -r pid <"$file" && kill -TERM "$pid" 2>/dev/null
	done
}
trap stop TERM INT
trap 'rm -rf "$work"' EXIT

# seconds prints how long a checker may run: until shortly before the deadline of the run; 0 means without limit.
seconds() {
	local deadline left
	[[ -n ${KUBEPROBER_RUN_DEADLINE:-} ]] || { echo 0; return; }
	deadline=$(date -d "$KUBEPROBER_RUN_DEADLINE" +%s) || return 1
	left=$((deadline - $(date +%s)))
	((left > 50)) && left=$((left - 10)) || left=$((left * 4 / 5))
	((left > 0)) && echo "$left" || echo 1
}

# unknown NAME MESSAGE reports that a check could not be made.
unknown() { report-status --name "$1" --status unknown --message "$2"; }

run_checker() {
	local name=$1 main=$2 limit=$3 status
	(
		echo "$BASHPID" >"$work/$name.pid"
		exec timeout --kill-after=5 "$limit" "$main"
	) 2> >(sed -u "s/^/$name: /" >&2) | report-status --stdin
	status=("${PIPESTATUS[@]}")
	case ${status[0]} in
	0) ;;
	124 | 137) unknown "$name" "the checker did not end within $limit seconds" || return 1 ;;
	126 | 127) unknown "$name" "$main cannot be run (exit status ${status[0]}): it must be executable and its interpreter be there" || return 1 ;;
	143) unknown "$name" "the run was stopped before the checker ended" || return 1 ;;
	*) unknown "$name" "the checker failed with exit status ${status[0]}; its log says why" || return 1 ;;
	esac
	return "${status[1]}"
}

limit=$(seconds) || {
	echo "error: KUBEPROBER_RUN_DEADLINE is '$KUBEPROBER_RUN_DEADLINE', which is no time" >&2
	exit 64
}
for main in "$checkers"/*/main; do
	[[ -e $main ]] || continue
	name=$(basename "$(dirname "$main")")
	run_checker "$name" "$main" "$limit" &
	pids+=($!)
done
((${#pids[@]} > 0)) || {
	echo "error: there is no checker: put each at $checkers/NAME/main" >&2
	exit 64
}

result=0
for pid in "${pids[@]}"; do
	# A signal interrupts wait: the checker is then waited for again.
	while
		wait "$pid"
		status=$?
		((status > 128)) && kill -0 "$pid" 2>/dev/null
	do :; done
	((status == 0)) || result=2
done
exit "$result"
