#!/usr/bin/env bash
# Start a private single-node Slurm under a folder, on 127.0.0.1, without systemd or a database:
#
#   tests/slurm/start.sh DIR PORT    DIR: a short path; PORT: the first of two free ports
#   . DIR/env.sh                     sbatch, squeue, snakemake ... now use it
#   tests/slurm/stop.sh DIR
#
# Needs Debian's packages munge, slurmctld, slurmd and slurm-client, but not root. The node claims 8 CPUs, 64 GB and
# two GPUs, whatever the machine has: GPUs are scheduled, but no program finds one.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$1"/{etc,bin,log,pid,state,spool,gpu} && mkdir -p -m 0755 "$1/munge"
chmod a+x "$1" # munge demands it
dir=$(cd "$1" && pwd -P) port=$2 host=$(hostname -s) user=$(id -un)

(umask 077 && mungekey --create --keyfile "$dir/munge/key")
# a job is given its own GPUs only where they have files; while no cgroup confines devices, any device will do
for i in 0 1; do ln -s /dev/null "$dir/gpu/nvidia$i"; done
echo "NodeName=$host Name=gpu Type=fake File=$dir/gpu/nvidia[0-1]" >"$dir/etc/gres.conf"
cat >"$dir/etc/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/sock
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/pid/slurmctld.pid
SlurmdPidFile=$dir/pid/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
# neither cgroups nor root needed; linuxproc would lose, after scancel, what outlives its parent
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
PropagateResourceLimits=NONE
# a job that takes more memory than it asked for is ended
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
# squeue shows ended jobs for a day, and the profile asks squeue
MinJobAge=86400
KillWait=5
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=64000 Gres=gpu:fake:2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES DefaultTime=10 MaxTime=1-00:00:00 State=UP
CONF

# the Snakemake plugin drops every SLURM_ variable before it calls srun, so srun must know the configuration itself
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$dir/etc/slurm.conf" "$(command -v srun)" >"$dir/bin/srun"
chmod +x "$dir/bin/srun"
printf 'export SLURM_CONF=%s PATH=%s:$PATH\n' "$dir/etc/slurm.conf" "$dir/bin" >"$dir/env.sh"
# shellcheck disable=SC1091
. "$dir/env.sh"

munged --socket="$dir/munge/sock" --key-file="$dir/munge/key" --pid-file="$dir/pid/munged.pid" \
    --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"
slurmctld -i
slurmd
for _ in $(seq 150); do
    [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && exit 0
    sleep 0.2
done
tail -n 15 "$dir"/log/*.log >&2
echo "start.sh: no idle node after 30 s; see the logs above" >&2
exit 1
