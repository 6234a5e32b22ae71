#!/usr/bin/env bash
# A selection on a Slurm allocation: one Ray node a machine, the driver on the first one.
#   sbatch slurm.sh /shared/coreset.toml /shared/run
# Submit it again after a time limit or a failure: it goes on where it stopped. CHANGE the four lines of #SBATCH.
#SBATCH --job-name=coreset
#SBATCH --nodes=4
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=4G
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
set -euo pipefail
recipe=${1:?"usage: sbatch slurm.sh RECIPE.toml RUN"}
run=${2:?"usage: sbatch slurm.sh RECIPE.toml RUN"}

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address="$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):6379"
cpus=$SLURM_CPUS_PER_TASK
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port=6379 --num-cpus="$cpus" --include-dashboard=false --block &
sleep 20
if [ "${#nodes[@]}" -gt 1 ]; then
    srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" \
        ray start --address="$address" --num-cpus="$cpus" --block &
    sleep 20
fi
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    coreset run "$recipe" --run "$run" --ray "$address" --quiet
