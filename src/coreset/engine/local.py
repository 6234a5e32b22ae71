"""Engines of one machine: this process, or worker processes of it.

Workers are spawned, never forked: torch's thread pool deadlocks in a forked child. A worker that dies (the
kernel's memory killer, a crash in a decoder) costs its calls another attempt, not the run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from typing import TypeVar

from coreset.engine.errors import TaskFailedError
from coreset.engine.progress import ticker
from coreset.engine.stage import Needs

T = TypeVar("T")
ATTEMPTS = 3
"""A call whose worker dies this often is given up."""


def in_process(calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:  # noqa: ARG001  the Protocol's shape
    """Make the calls here, one after the other.

    Example:
        >>> list(in_process([lambda: 1, lambda: 2], Needs()))
        [1, 2]
    """
    for call in calls:
        yield call()


class on_processes:  # noqa: N801  an engine is called like the function `in_process`
    """An engine of `workers` spawned processes, kept until `close`; at most two calls a worker are under way.

    Raises:
        TaskFailedError: A call's worker died `ATTEMPTS` times. The run can be resumed.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        """Yield each call's result as it comes."""
        window = min(needs.concurrency or 2 * self._workers, 2 * self._workers)
        left: Iterator[tuple[Callable[[], T], int]] = ((call, 1) for call in calls)
        while True:
            self._pool = self._pool or _pool(self._workers)
            try:
                again = yield from _drain(self._pool, left, window)
            except BaseException:
                self._kill()
                raise
            if not again:
                return
            self._kill()
            left = _chain(again, left)

    def close(self) -> None:
        """Let the workers go; the next call starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _kill(self) -> None:
        """End the workers at once: their unfinished parts are garbage by construction."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):  # Python 3.14 has kill_workers
                process.kill()
            self.close()


def _drain(
    pool: ProcessPoolExecutor, left: Iterator[tuple[Callable[[], T], int]], window: int
) -> Generator[T, None, list[tuple[Callable[[], T], int]]]:
    """Yield results until nothing is left or a worker dies; returns the calls to be made again."""
    under_way: dict[Future[T], tuple[Callable[[], T], int]] = {}
    again: list[tuple[Callable[[], T], int]] = []
    broken = False
    while True:
        while not broken and len(under_way) < window and (entry := next(left, None)) is not None:
            try:
                under_way[pool.submit(entry[0])] = entry
            except BrokenProcessPool:
                again.append(entry)
                broken = True
        if not under_way:
            return again
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            call, attempt = under_way.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool as error:
                broken = True
                if attempt == ATTEMPTS:
                    raise TaskFailedError(
                        f"Workers died {ATTEMPTS} times at the same work, perhaps for lack of memory; "
                        f"run the same command with fewer --workers to continue."
                    ) from error
                again.append((call, attempt + 1))
            else:
                yield result


def _chain(
    again: list[tuple[Callable[[], T], int]], left: Iterator[tuple[Callable[[], T], int]]
) -> Iterator[tuple[Callable[[], T], int]]:
    yield from again
    yield from left


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(), ticker.share()),
    )


def _start_worker(parent: int, counter: Synchronized[int]) -> None:
    """Leave interrupts to the parent, die with it, count rows into its counter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ticker.adopt(counter)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
