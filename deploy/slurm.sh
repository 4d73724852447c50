#!/usr/bin/env bash
# Run on loopback with stand-ins for srun and scontrol, two Ray nodes (tests/deploy); never run by SLURM itself.
#
#     sbatch deploy/slurm.sh                                 # dvc repro over the nodes of the job
#     sbatch --nodes 8 deploy/slurm.sh make sweep SWEEP=reid
#
# Submit from the repository's root, on a disk that all nodes see, or with `storage:` in cluster.yaml. `make setup`
# must have run there. Set `workers` and `gpus_per_worker` of cluster.yaml to what the nodes have together.

#SBATCH --job-name=finetrack
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --requeue
#SBATCH --no-kill

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?found no SLURM_SUBMIT_DIR, expected to be started by sbatch. Use sbatch deploy/slurm.sh}"
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0

# A token of this job alone: who does not hold it cannot use its Ray. It stays in the environment, srun hands it on.
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address)
address=${address%% *}                      # a node may have several; the first is that of its name
port=$((20000 + SLURM_JOB_ID % 10000))      # two jobs that meet on a node do not meet on a port
export RAY_ADDRESS="$address:$port"

# Each `ray start --block` lives as long as its step; ending the steps ends Ray, and nobody else's.
# One that does not end when asked (`ray start` may hang) is killed.
command=()
steps=()
finish() {                                  # finish PROCESS...: 20 s to end when asked
    kill "$@"
    for _ in {1..20}; do
        kill -0 "$@" || return
        sleep 1
    done
    kill -KILL "$@"
} 2> /dev/null
end() {
    set +e
    trap '' TERM
    for group in command steps; do
        local -n processes=$group
        [ ${#processes[@]} -eq 0 ] || finish "${processes[@]}"
    done
}
trap end EXIT
trap 'exit 143' TERM

ray_on() {                                  # ray_on NODE OPTIONS...
    srun --nodes=1 --ntasks=1 --overlap --cpu-bind=none --nodelist="$1" env -u RAY_ADDRESS ray start --block "${@:2}" &
    steps+=($!)
}
ray_on "$head" --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1
for node in "${nodes[@]:1}"; do
    ray_on "$node" --address="$RAY_ADDRESS"
done

# Stages refuse a cluster that is smaller than cluster.yaml says, so all nodes are waited for.
timeout 600 python - "${#nodes[@]}" << 'END'
import sys
import time

import ray

wanted = int(sys.argv[1])
while True:
    try:
        ray.init(logging_level="ERROR", log_to_driver=False)
        break
    except ConnectionError:
        time.sleep(2)
while (up := sum(node["Alive"] for node in ray.nodes())) < wanted:
    time.sleep(1)
print(f"Ray: {up} nodes, {ray.cluster_resources().get('GPU', 0):g} GPUs", flush=True)
END

# In the background, because bash runs no trap while it waits for a command in the foreground.
if [ $# -eq 0 ]; then set -- dvc repro; fi
"$@" &
command=($!)
wait "${command[0]}"
