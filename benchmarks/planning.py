"""What planning and listing a stage costs its driver, by the number of parts: `planning.py --parts 10000 100000`.

The stage is that of `coreset embed`: one part a shard. No shard is there and none is read; each part is two empty files
that an engine leaves, so that what is left is the driver's own. Each size runs in a process of its own, whose peak
memory is counted above that of one with a thousand parts. `--under /dev/shm` keeps the disk out of the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from coreset.embed import EmbedParams, embed_stage
from coreset.encoder.choice import Choice
from coreset.engine.local import in_process
from coreset.engine.outgoing import Seal
from coreset.engine.stage import PARQUET, Finished, Needs, Stage, complete
from coreset.sources.shards import Shard

FEW = 1000
SEAL = Seal(0, "0" * 32)
CHOICE = Choice("ViT-L-14", "openai", True, "cuda", "float16", 256, 8)


def left_empty(calls: Iterable[Callable[[], Any]], needs: Needs) -> Iterator[Any]:  # noqa: ARG001  an engine's shape
    """An engine that leaves two empty files for each call, as if it had been made."""
    for call in calls:
        task = call.args[0]  # type: ignore[attr-defined]
        for suffix in (".npy", PARQUET):
            Path(task.part + suffix).touch()
        counts = {"samples": 10_000, "rows": 9_990, "quarantined": 10, "incomplete": 0}
        yield Finished(task.part.rpartition("/")[2], counts, {".npy": SEAL, PARQUET: SEAL})


def stage_of(parts: int, folder: str) -> Stage:
    """`rows/` of so many shards; nobody looks into them."""
    shards = [Shard(f"{n:06d}.tar", f"/data/laion2b/shards/{n:06d}.tar", 330_000_000 + n) for n in range(parts)]
    stage = embed_stage(folder, shards, EmbedParams(dimension=768), CHOICE, in_process)
    return dataclasses.replace(stage, check=lambda: None, size=lambda: 0, rows=lambda: None)


def measured(parts: int, under: str | None) -> dict[str, float]:
    """Seconds, peak memory and bytes of the books for so many parts."""
    with tempfile.TemporaryDirectory(dir=under) as folder:
        place = f"{folder}/rows"
        times = [time.perf_counter()]
        for _ in stage_of(parts, place).tasks():
            pass
        times.append(time.perf_counter())
        complete(stage_of(parts, place), left_empty)
        times.append(time.perf_counter())
        complete(stage_of(parts, place), left_empty)
        times.append(time.perf_counter())
        books = [Path(place, name).stat().st_size for name in ("plan.json", "stage.json")]
    planning, made, reopened = (after - before for before, after in pairwise(times))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"planning": planning, "made": made, "reopened": reopened, "peak": peak, "plan": books[0], "stage": books[1]}


def main() -> None:
    """Print a line for each number of parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--under", help="the folder that the parts are left in; the system's for temporary files")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone is not None:
        print(json.dumps(measured(asked.alone, asked.under)))
        return
    floor = alone(FEW, asked.under)["peak"]
    for parts in asked.parts:
        found = alone(parts, asked.under)
        each = (found["peak"] - floor) / (parts - FEW)
        print(
            f"{parts:,} parts: {found['planning']:.1f} s to plan, {found['made']:.1f} s to plan, list and seal, "
            f"{found['reopened']:.1f} s to open again; {each:,.0f} bytes of memory a part; "
            f"plan.json {found['plan'] / 1e6:.1f} MB, stage.json {found['stage'] / 1e6:.1f} MB"
        )


def alone(parts: int, under: str | None) -> dict[str, float]:
    """The measurement in a process of its own."""
    given = [sys.executable, __file__, "--alone", str(parts), *(["--under", under] if under else [])]
    found: dict[str, float] = json.loads(subprocess.run(given, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main()
