#!/usr/bin/env bash
# Submit a selection to a Ray cluster that runs: the driver runs there, and this terminal may be closed.
#   RAY_ADDRESS=http://HEAD:8265 ./submit.sh /shared/coreset.toml /shared/run
# Both paths must be the same on every node. Submit it again after a failure: it goes on where it stopped.
# Reach the head through an SSH tunnel (ssh -L 8265:localhost:8265 HEAD), never over an open port.
set -euo pipefail
recipe=${1:?"usage: submit.sh RECIPE.toml RUN"}
run=${2:?"usage: submit.sh RECIPE.toml RUN"}
: "${RAY_ADDRESS:?"the address of the cluster's job server, such as http://localhost:8265"}"

ray job submit --address "$RAY_ADDRESS" --no-wait -- \
    coreset run "$recipe" --run "$run" --ray auto --quiet
