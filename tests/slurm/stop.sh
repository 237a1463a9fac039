#!/usr/bin/env bash
# Cancel the jobs and end the daemons that start.sh started under a folder, by their process ids:
#
#   tests/slurm/stop.sh DIR
set -uo pipefail
dir=$(cd "$1" && pwd -P) || exit
# shellcheck disable=SC1091
[ -f "$dir/env.sh" ] && . "$dir/env.sh"
# jobs first: their processes are the node's to end; never those of another Slurm
if [ -f "$dir/env.sh" ]; then
    timeout 10 scancel --user "$(id -un)" 2>/dev/null
    for _ in $(seq 75); do
        [ -n "$(timeout 10 squeue -h -t PENDING,RUNNING,COMPLETING 2>/dev/null)" ] || break
        sleep 0.2
    done
fi
for name in slurmd slurmctld munged; do
    pid=$(cat "$dir/pid/$name.pid" 2>/dev/null) || continue
    # the id may be another process's by now
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || continue
    kill "$pid"
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || continue 2
        sleep 0.2
    done
    kill -KILL "$pid"
done
