"""What Ray costs on one machine: ``dedup`` and ``sample`` on made rows, by processes and by ``--ray local``.

``python benchmarks/ray_overhead.py [--rows 1000000] [--workers 2] [--rounds 1] [--folder DIR]``

Both commands are run as a user runs them, so that the start of Ray and of its workers counts. Rows are made once, as
`end_to_end.py` makes them; the engines take turns, and the hashes of all stages must be equal.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from end_to_end import COMMANDS, MadeParams, Measured, differing, linked, made_rows, measured, sampled_rows

ENGINES = {"processes": (), "--ray local": ("--ray", "local")}


def total(found: Measured) -> float:
    """Seconds of both commands."""
    return sum(cost.seconds for cost in found.commands.values())


def print_round(found: dict[str, Measured]) -> None:
    """A line for each command and stage, with the ratio of Ray to processes."""
    processes, cluster = found.values()
    print(f"{'':12s}{'processes s':>13s}{'--ray local s':>15s}{'ratio':>8s}{'processor s':>14s}{'s':>9s}{'ratio':>8s}")
    lines = {}
    for command, stages in COMMANDS.items():
        lines[command] = (processes.commands[command], cluster.commands[command])
        lines |= {f"  {stage}": (processes.stages[stage], cluster.stages[stage]) for stage in stages}
    for name, (one, other) in lines.items():
        print(f"{name:12s}{one.seconds:13.2f}{other.seconds:15.2f}{other.seconds / one.seconds:8.2f}", end="")
        print(f"{one.cpu:14.2f}{other.cpu:9.2f}{other.cpu / max(one.cpu, 0.01):8.2f}")
    print(
        f"{'all':12s}{total(processes):13.2f}{total(cluster):15.2f}{total(cluster) / total(processes):8.2f}", flush=True
    )


def main() -> None:
    """Make the rows, measure each engine in each round, and print."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, default=1_000_000)
    flags.add_argument("--workers", type=int, default=2)
    flags.add_argument("--rounds", type=int, default=1)
    flags.add_argument("--memory", default="4GiB")
    flags.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "coreset-ray-overhead")
    given = flags.parse_args()
    source = made_rows(given.folder.resolve(), MadeParams(given.rows))
    try:
        for number in range(given.rounds):
            found = {}
            order = list(ENGINES)[:: -1 if number % 2 else 1]
            for name in order:
                run = linked(source, source / "run", ("rows",))
                found[name] = measured(run, given.memory, sampled_rows(given.rows), given.workers, *ENGINES[name])
            if differing(list(found.values())):
                sys.exit("The engines left other bytes.")
            print(f"{given.rows:,} rows, {given.workers} workers, round {number + 1}:")
            print_round({name: found[name] for name in ENGINES})
    finally:
        shutil.rmtree(source)


if __name__ == "__main__":
    main()
