"""What it costs to estimate missed duplicates, beside the same search by FAISS: ``python benchmarks/missed_cost.py``.

Rows are made as in `end_to_end.py`, and `coreset dedup` runs on them first. ``coreset missed`` is timed as a process of
its own. Then the same sampled rows are searched for by FAISS among the same vectors, as float32, a part at a time:
``IndexFlatIP.range_search``, which finds every pair above the threshold up to rounding.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from end_to_end import MadeParams, children_seconds, linked, made_rows

from coreset import rows
from coreset.engine.stage import open_parts
from coreset.results.chains.missed import smallest, smallest_hashes, with_vectors
from coreset.results.chains.misses import SEED

THRESHOLD = 0.86


def timed(run: Path, *arguments: str) -> tuple[str, float, float]:
    """What a command prints, the seconds that it takes, and those of processor time."""
    program = [str(Path(sys.executable).with_name("coreset")), arguments[0], "--run", str(run), *arguments[1:]]
    begun, before = time.perf_counter(), children_seconds()
    ended = subprocess.run(program, cwd=run, capture_output=True, text=True, check=True)
    return ended.stdout, time.perf_counter() - begun, children_seconds() - before


def faiss_pairs(run: Path, count: int) -> tuple[int, float, float]:
    """Pairs (sampled row, row) above the threshold as FAISS finds them, each row with itself, too; seconds."""
    clusters = open_parts(f"{run}/clusters")
    if clusters is None:
        sys.exit(f"{run} has no clusters/.")
    drawn = [smallest_hashes(where, part, SEED, count) for part, where in enumerate(clusters.locations())]
    whole = drawn[0]
    for some in drawn[1:]:
        whole = smallest(whole, some, count=count)
    queries = with_vectors(clusters, whole).vectors.astype(np.float32)
    found, begun, before = 0, time.perf_counter(), time.process_time()
    for where in clusters.locations():
        vectors = rows.open_vectors(where)
        for start in range(0, len(vectors), 65_536):
            index = faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors[start : start + 65_536].astype(np.float32))
            found += len(index.range_search(queries, THRESHOLD)[1])
    return found, time.perf_counter() - begun, time.process_time() - before


def main() -> None:
    """Prints the report and the seconds of each way, for each number of clusters."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, default=1_000_000)
    flags.add_argument("--clusters", type=int, nargs="+", default=[0], help="0 for one per 20,533 rows")
    flags.add_argument("--sampled", type=int, default=2000)
    flags.add_argument("--memory", default="4GiB")
    flags.add_argument("--faiss", action="store_true")
    flags.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "coreset-missed")
    given = flags.parse_args()
    source = made_rows(given.folder.resolve(), MadeParams(given.rows))
    sampled = ("--rows", str(given.sampled), "--memory", given.memory)
    for clusters in given.clusters:
        run = source / f"run-{clusters}"
        if not (run / "dedup" / "stage.json").exists():  # an earlier call was interrupted
            linked(source, run, ("rows",))
            timed(run, "dedup", "--quiet", "--clusters", str(clusters), "--memory", given.memory)
        shown, seconds, cpu = timed(run, "missed", *sampled)
        print(shown)
        print(f"coreset missed {seconds:.1f} s, {cpu:.1f} s of processor time, the start of the program included")
        if given.faiss:
            pairs, seconds, cpu = faiss_pairs(run, given.sampled)
            print(f"FAISS, search alone {seconds:.1f} s, {cpu:.1f} s of processor time; {pairs:,} pairs", flush=True)
        shutil.rmtree(run)
    shutil.rmtree(source)


if __name__ == "__main__":
    main()
