#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: slurm.sh start FOLDER, slurm.sh stop FOLDER.
# Settings, keys, logs and state lie in FOLDER, to which a link /etc/slurm/slurm.conf leads: the steps of a job find it in
# no other way. Installs Debian's slurm-wlm and munge where they are missing. Exits with 3 and a reason where a Slurm cannot
# be had: no root, no apt, or another Slurm.
set -euo pipefail
folder=$(realpath -m "$2")
link=/etc/slurm/slurm.conf

stop() {
    if [[ $(readlink "$link") != "$folder/slurm.conf" ]]; then return; fi
    scancel --user="$(id -un)" || true
    for daemon in slurmd slurmctld munged; do
        if [[ -s $folder/$daemon.pid ]]; then kill "$(cat "$folder/$daemon.pid")" || true; fi
    done
    rm "$link"
}

start() {
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "Slurm is installed and started by root with apt, which this machine does not offer." >&2
        exit 3
    fi
    if ! command -v slurmctld slurmd sbatch munged >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge; } >"$folder/apt.log" 2>&1 ||
            { echo "apt cannot install slurm-wlm and munge, see $folder/apt.log." >&2; exit 3; }
    fi
    if [[ -e $link || -L $link ]]; then
        echo "Another Slurm is set up on this machine: $link is there." >&2
        exit 3
    fi
    mkdir -p "$folder"/{ctld,d}
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 400 "$folder/munge.key"
    # what a job leaves in its temporary folder is seen by no other job
    cat >"$folder/prolog.sh" <<PROLOG
#!/bin/sh
mkdir -p "$folder/tmp/\$SLURM_JOB_ID" && echo "export TMPDIR=$folder/tmp/\$SLURM_JOB_ID"
PROLOG
    chmod 755 "$folder/prolog.sh"
    local memory=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 - 512))
    # no accounting; processes are found by their group; a job over its memory is killed within a second or two
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
ProctrackType=proctrack/pgid
TaskPlugin=task/none
TaskProlog=$folder/prolog.sh
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
MinJobAge=3600
SchedulerParameters=sched_interval=2,batch_sched_delay=0
StateSaveLocation=$folder/ctld
SlurmdSpoolDir=$folder/d
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory
PartitionName=main Nodes=ALL Default=YES
CONF
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
    ln -s "$folder/slurm.conf" "$link"
    slurmctld
    slurmd
    for _ in $(seq 100); do
        [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]] && return
        sleep 0.2
    done
    echo "Slurm did not start, see $folder/slurmctld.log and slurmd.log." >&2
    stop
    exit 1
}

mkdir -p "$folder"
"$1"
