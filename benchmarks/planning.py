"""What planning and listing a stage costs its driver, by the number of parts: `planning.py --parts 10000 100000`.

Parts are empty files and no work is done, so that what is left is the driver's own. Each size runs in a process of its
own, whose peak memory is counted above that of one with no parts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from coreset.engine.files import Seal
from coreset.engine.stage import PARQUET, Finished, Needs, Part, Stage, Summary, Task, complete

SEAL = Seal(0, "0" * 32)


@dataclass(frozen=True)
class EmptyParams:
    """Parameters of a stage of empty parts."""

    stage: ClassVar[str] = "empty"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset()


def write_empty(part: Part) -> Summary:
    """Never called: `committed` stands for it."""
    raise NotImplementedError(part.name)


def committed(calls: Iterable[Callable[[], Any]], needs: Needs) -> Iterator[Any]:  # noqa: ARG001  an engine's shape
    """An engine that leaves two empty files for each call, as if it had been made."""
    for call in calls:
        task = call.args[0]  # type: ignore[attr-defined]
        for suffix in (".npy", PARQUET):
            Path(task.part + suffix).touch()
        counts = {"samples": 10_000, "rows": 9_990, "quarantined": 10}
        yield Finished(task.part.rpartition("/")[2], counts, {".npy": SEAL, PARQUET: SEAL})


def measured(parts: int) -> dict[str, float]:
    """Seconds, peak memory and bytes of `stage.json` for so many parts."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/empty"
        tasks = (Task(f"{place}/{number:07d}", write_empty, (), {"size": number}) for number in range(parts))
        stage = Stage(place, EmptyParams(), lambda: tasks, None, lambda _: None)
        began = time.perf_counter()
        complete(stage, committed)
        made = time.perf_counter()
        complete(stage, committed)
        reopened = time.perf_counter()
        size = Path(place, "stage.json").stat().st_size
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"made": made - began, "reopened": reopened - made, "peak": peak, "bytes": size}


def main() -> None:
    """Print a line for each number of parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone is not None:
        print(json.dumps(measured(asked.alone)))
        return
    floor = alone(0)["peak"]
    for parts in asked.parts:
        found = alone(parts)
        each = (found["peak"] - floor) / parts
        print(
            f"{parts:,} parts: {found['made']:.1f} s to plan and list, {found['reopened']:.1f} s to open again, "
            f"{each / 1000:.1f} kB of memory a part, stage.json {found['bytes'] / 1e6:.1f} MB"
        )


def alone(parts: int) -> dict[str, float]:
    """The measurement in a process of its own."""
    said = subprocess.run([sys.executable, __file__, "--alone", str(parts)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(said.stdout)
    return found


if __name__ == "__main__":
    main()
