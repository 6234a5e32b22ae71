"""A selection on a Ray cluster, in a process of its own that may be killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import psutil
from identity import patched

from coreset.engine.lock import sole_writer
from coreset.engine.on_ray import on_ray
from coreset.engine.stage import Execute, Needs
from coreset.pipeline import LIBRARIES, Run, selected
from coreset.recipe import read_recipe

T = TypeVar("T")
WORKERS = 3
MEMORY = WORKERS * (LIBRARIES + (256 << 20))
SMALL_PARTS = {"coreset.cluster.PART_ROWS": 500, "coreset.slices.TASK_ROWS": 300}
"""Planned in the driver only: many tasks in each stage, so that each stage can be disturbed."""


def select_on(address: str, pause: float) -> None:
    """Select by the `coreset.toml` here, on a cluster; each call takes at least so many seconds."""
    with sole_writer("run"), patched({**SMALL_PARTS, "coreset.pipeline.FLOOR": 0}):
        engine = on_ray(address, WORKERS)
        selected(Run("run", WORKERS, slowed(engine, pause), MEMORY), read_recipe("coreset.toml"))
        engine.close()


def select_here() -> None:
    """The same in one process."""
    with sole_writer("run"), patched({**SMALL_PARTS, "coreset.pipeline.FLOOR": 0}):
        selected(Run("run", memory=MEMORY), read_recipe("coreset.toml"))


def listening_to() -> None:
    """Print the addresses that a cluster of our own opens to others."""
    own = on_ray("local", 1)
    list(own([partial(pow, 2, 3)], Needs(memory=1)))
    opened = {
        found.laddr.ip for found in psutil.net_connections("tcp") if found.status == "LISTEN" and is_ours(found.pid)
    }
    own.close()
    print(" ".join(sorted(opened)), flush=True)  # noqa: T201  what the test reads


def is_ours(pid: int | None) -> bool:
    """Whether a process comes from this one."""
    return pid is not None and os.getpid() in {pid, *(parent.pid for parent in psutil.Process(pid).parents())}


def slowed(execute: Execute, seconds: float) -> Execute:
    """An engine whose calls begin with a pause: something to be killed in."""

    def run(calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        yield from execute((partial(paused, seconds, call) for call in calls), needs)

    return run


def paused(seconds: float, call: Callable[[], T]) -> T:
    """A call after a pause."""
    time.sleep(seconds)
    return call()
