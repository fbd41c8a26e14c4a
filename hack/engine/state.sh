# What the scripts of hack/engine/ know of the dockerd that they started. Sourced after lib.sh, never run.

engine=$cache/engine

# is_process PID COMMAND is true when PID runs and is COMMAND: a number left in a file may be another process by now.
is_process() { [[ -n $1 && $(cat "/proc/$1/comm" 2>/dev/null) == "$2" ]]; }
