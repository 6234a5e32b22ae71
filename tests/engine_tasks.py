"""Calls and parts for the tests of the engine: a module of its own, so that workers can import it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from coreset.engine.errors import InputError
from coreset.engine.local import on_processes
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Needs, Part, Stage, Task

SIDE = ".side"
ASIDE = "../aside/made-"


@dataclass(frozen=True)
class MadeParams:
    """A stage that makes text; `tone` may change aloud, `text` may not."""

    stage: ClassVar[str] = "made"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"tone", "source"})

    text: str = "a"
    tone: int = 0


def write_made(params: MadeParams, number: int, counts: str, part: Part) -> dict[str, int]:
    """A part of three files; leaves a line in `counts` for each time it was made."""
    with open(counts, "a") as file:
        file.write(f"{part.name}\n")
    with part.file(SIDE) as side:
        side.write(f"{params} {number}".encode())
    aside = f"{ASIDE}{part.name}"
    if number % 2 == 0:
        with part.file(aside) as side:
            side.write(str(number).encode())
    else:
        part.without(aside)
    summary = {"rows": number}
    commit = part.file(PARQUET)
    commit.write(part.receipt(summary).encode())
    commit.close()
    return summary


def receipt(location: str) -> str | None:
    """What `write_made` committed; the engine asks the stage for it."""
    try:
        json.loads(Path(location).read_text())
    except ValueError as error:
        raise InputError(f"{location} is damaged") from error
    return Path(location).read_text()


def made_stage(run: Path, order: Sequence[int] = range(4), source: str | None = None, **params: Any) -> Stage:
    """Parts numbered in `order`; how often each was made stands in `run`/counts."""
    of = MadeParams(**params)

    def tasks() -> list[Task]:
        counts = str(run / "counts")
        return [Task(f"{run}/made/{number:03d}", write_made, (of, number, counts), number) for number in order]

    return Stage(f"{run}/made", of, tasks, source, receipt, aside=(ASIDE,))


def made(run: Path) -> list[str]:
    """Names of the parts made since the last look, in order."""
    counts = run / "counts"
    names = sorted(counts.read_text().split()) if counts.exists() else []
    counts.unlink(missing_ok=True)
    return names


def square(number: int) -> int:
    """A small result."""
    return number * number


def count_rows(rows: int) -> None:
    """Rows that a worker has done."""
    ticker.add(rows)


def own_pid(seconds: float) -> int:
    """Which process this is, after some time."""
    time.sleep(seconds)
    return os.getpid()


def refuse(sentence: str) -> None:
    """A user's mistake that a worker finds."""
    raise InputError(sentence)


def die(deaths: int, folder: str) -> int:
    """Kill this worker the first `deaths` times; then say how often it was tried."""
    tried = len(os.listdir(folder))
    if tried < deaths:
        Path(folder, f"{tried}-{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return tried


def note_pid_and_sleep(folder: str) -> None:
    """Stay busy, and say which process is."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


def keep_workers_busy(folder: str) -> None:
    """Two workers that stay busy until somebody kills them."""
    from functools import partial

    list(on_processes(2)([partial(note_pid_and_sleep, folder)] * 2, Needs()))


def hold_folder(folder: str) -> None:
    """Hold a folder for writing until somebody kills this process."""
    from coreset.engine.lock import sole_writer

    with sole_writer(folder):
        Path(folder, "held").touch()
        time.sleep(600)


def with_loads(call: Callable[[], Any]) -> tuple[Any, int, int]:
    """What a call gives, in which process, and how often that process has loaded a model so far."""
    result, loading = call(), sys.modules.get("coreset.encoder.loading")
    return result, os.getpid(), loading._loaded.cache_info().misses if loading else 0
