# What the scripts of hack/engine/ know of the dockerd that they started and of the clusters' network. Sourced after
# lib.sh, never run.

engine=$cache/engine

# The bridge of the clusters' network. Named by us, so that a rule for it can concern no other network.
network_bridge=br-kubeprober

# The rule by which what leaves a network without a way out is refused at once, instead of timing out.
refusal=(DOCKER-USER -i "$network_bridge" ! -o "$network_bridge" -m conntrack --ctstate NEW -j REJECT)

# may_filter is true where the engine's rules are this machine's, and ours to change.
may_filter() {
	[[ $(id -u) == 0 ]] && command -v iptables >/dev/null && iptables -n -L DOCKER-USER >/dev/null 2>&1
}

allow_way_out() {
	may_filter || return 0
	while iptables -C "${refusal[@]}" 2>/dev/null; do iptables -D "${refusal[@]}"; done
}

refuse_way_out() {
	! may_filter || iptables -C "${refusal[@]}" 2>/dev/null || iptables -I "${refusal[@]}"
}

# is_process PID COMMAND is true when PID runs and is COMMAND: a number left in a file may be another process by now.
is_process() { [[ -n $1 && $(cat "/proc/$1/comm" 2>/dev/null) == "$2" ]]; }
