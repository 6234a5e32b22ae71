"""Calls of a model: each in the thread that asks, or several at a time, in a queue that those who ask do not wait for.

Threads that share one call wait for each other after each of its operations, the longer the more a decoder takes a core
away from one of them. Calls side by side wait for nothing, as long as others are in the queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

Call = Callable[[], torch.Tensor]


class Pending:
    """Vectors of which some may still be computed."""

    def __init__(self, parts: list[Future[torch.Tensor]]) -> None:
        self._parts = parts
        self._order: Int64[np.ndarray, "n"] | None = None

    def placed(self, order: Int64[np.ndarray, "n"]) -> Pending:
        """The same vectors, of which the i-th belongs at `order[i]`."""
        self._order = np.argsort(order)
        return self

    def array(self) -> Float32[np.ndarray, "n d"]:
        """The vectors; waits for them. An error of a call is raised here."""
        found: np.ndarray[Any, Any] = np.concatenate([part.result().numpy() for part in self._parts])
        return found if self._order is None else found[self._order]

    def drop(self) -> None:
        """Take calls that have not begun out of the queue: nobody will ask for the vectors."""
        for part in self._parts:
            part.cancel()


class Calls:
    """Makes calls, several at a time, or each at once in the thread that asks.

    Example:
        >>> calls = Calls(side_by_side=2, threads=2)
        >>> calls.begun([lambda n=n: torch.tensor([n]) for n in range(3)]).array()
        array([0, 1, 2])
    """

    def __init__(self, side_by_side: int, threads: int) -> None:
        self._each = threads // side_by_side
        self._pool = ThreadPoolExecutor(side_by_side) if side_by_side > 1 else None

    def begun(self, calls: list[Call]) -> Pending | torch.Tensor:
        """Puts calls at the end of the queue; where one call has all threads there is none, and they are made here.

        An interrupt ends a call that is made here, which may take a minute; one of the queue is waited for.
        """
        if self._pool is None:
            with _alone:
                return joined([self._made(call) for call in calls])
        parts = []
        for call in calls:
            _threads.take()
            parts.append(self._pool.submit(self._called, call))
            parts[-1].add_done_callback(_given_back_if_cancelled)
        return Pending(parts)

    def _made(self, call: Call) -> torch.Tensor:
        _threads.take()
        return self._called(call)

    def _called(self, call: Call) -> torch.Tensor:
        try:
            torch.set_num_threads(self._each)
            return call()
        finally:
            _threads.give_back()


class _Threads:
    """The number of torch's threads, which is the whole process's: as it was, as soon as no call is left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls, self._before = 0, 0

    def take(self) -> None:
        """A call will change it."""
        with self._lock:
            if not self._calls:
                self._before = torch.get_num_threads()
            self._calls += 1

    def give_back(self) -> None:
        """A call is over, or will not be made."""
        with self._lock:
            self._calls -= 1
            if not self._calls:
                torch.set_num_threads(self._before)


_threads = _Threads()
_alone = threading.Lock()
"""One batch at a time, whichever thread of the process asks: memory is for one."""


def _given_back_if_cancelled(part: Future[torch.Tensor]) -> None:
    if part.cancelled():
        _threads.give_back()


def joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """The rows of all parts."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def side_by_side(threads: int, calls: int) -> int:
    """How many of a batch's calls run at a time: as many as share the threads evenly.

    Example:
        >>> [side_by_side(threads, 4) for threads in (1, 2, 3, 4, 6, 8, 16)]
        [1, 2, 3, 4, 3, 4, 4]
    """
    return max(many for many in range(1, calls + 1) if threads % many == 0)
