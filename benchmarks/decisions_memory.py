"""Memory of `coreset decisions` by the number of rows: it streams, so it must not grow with them.

``python benchmarks/decisions_memory.py [--rows 1000000 4000000]`` makes, for each number, a run with made-up tables,
and with an entry in quarantine for every 100 rows. It runs `coreset decisions` on it in a process of its own, and says
its time and its peak of anonymous and shared memory. Linux only: see `memory.py`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from memory import TreeSampler

from coreset import rows
from coreset.account import FUNNEL, source_hash
from coreset.engine.local import in_process
from coreset.engine.stage import Part, Parts, Stage, Summary, Task, complete
from coreset.quarantine import write_quarantine
from coreset.sample import SampleParams, sample_stage
from coreset.sources.pairs import Reject

PART_ROWS = 1 << 18
CALL = "from coreset.cli import main; main()"


@dataclass(frozen=True)
class MadeUp:
    """Parameters of a stage whose tables are made up."""

    stage: ClassVar[str] = "made up"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset()


def main() -> None:
    """Print a line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    for count in parser.parse_args().rows:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            make_run(folder, count)
            command = [sys.executable, "-c", CALL, "decisions", f"{folder}/out.parquet", "--run", folder, "--json"]
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            with TreeSampler(process.pid) as sampler:
                code = process.wait()
            seconds = time.perf_counter() - begun
            print(f"{count:>12,} rows: {seconds:.1f} s, peak {sampler.peak / 2**20:,.0f} MiB")
            if code:
                sys.exit(code)


def make_run(folder: str, count: int) -> None:
    """A run that is selected to its end."""
    made: dict[str, Parts] = {}
    numbers = range(-(-count // PART_ROWS))
    for name in FUNNEL[:-1]:
        before = {"rows": [], "centroids": ["rows"], "clusters": ["rows", "centroids"], "dedup": ["clusters"]}[name]
        source = source_hash([made[one].hash for one in before])

        def tasks(name: str = name) -> Iterator[Task]:
            for number in numbers:
                size = min(PART_ROWS, count - number * PART_ROWS)
                yield Task(f"{folder}/{name}/{number:05d}", partial(write_part, name), (number, size))

        made[name] = complete(Stage(f"{folder}/{name}", MadeUp(), tasks, source, rows.receipt_of), in_process)
    complete(
        sample_stage(f"{folder}/coreset", made["dedup"], SampleParams(n=count // 100), in_process, 1 << 30), in_process
    )


def write_part(name: str, number: int, size: int, part: Part) -> Summary:
    """A part of a stage: its table for `dedup/`, its quarantine for `rows/`, nothing for the others."""
    table = rows.PartTable(part, rows.DEDUP)
    refused = size // 100
    if name == "dedup":
        table.write(made_up_rows(number, size))
        kept = size // 2
        return table.close({"rows": size, "kept": kept, "duplicates": size - kept})
    if name == "rows":
        rejects = [Reject(f"bad{number}-{i}", i, "no_caption", "no caption", 1) for i in range(refused)]
        write_quarantine("embed", rejects, f"{number:05d}.tar", part)
    return table.close({"samples": size + refused, "rows": size, "quarantined": refused, "excluded": 0})


def made_up_rows(number: int, size: int) -> pa.Table:
    """Rows of `dedup/`, every second of which is kept."""
    draw = np.random.default_rng(number)
    keys = [f"{number:05d}{i:09d}" for i in range(size)]
    scores = draw.random((3, size), np.float32)
    columns = {
        "key": keys,
        "caption": [f"a caption of the usual length, that of number {i:,}" for i in range(size)],
        "text_cosine": scores[0],
        "key_hash": rows.key_hashes(keys),
        "source": [f"{number:05d}.tar"] * size,
        "source_row": np.arange(size),
        "vector_row": np.arange(size),
        "cluster": np.arange(size, dtype=np.int32) // 10_000,
        "centroid_distance": scores[1],
        "centroid_cosine": scores[2],
        "component_size": np.full(size, 2, np.int32),
        "kept": np.arange(size) % 2 == 0,
        "kept_key": [keys[i - i % 2] for i in range(size)],
        "kept_cosine": np.ones(size, np.float32),
    }
    return pa.table({f.name: columns.get(f.name, pa.nulls(size, f.type)) for f in rows.DEDUP}, schema=rows.DEDUP)


if __name__ == "__main__":
    main()
