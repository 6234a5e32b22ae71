"""Calls of a model on a CPU: so many at a time, in a queue that those who ask do not wait for.

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


class Calls:
    """A queue of calls, and the threads that make them.

    torch has one number of threads for the whole process. It is changed while a call is in the queue, and is what it
    was when none is.

    Example:
        >>> calls = Calls(side_by_side=2, threads=2)
        >>> calls.begun([lambda n=n: torch.tensor([n]) for n in range(3)]).array()
        array([0, 1, 2])
    """

    _lock = threading.Lock()
    _left = 0
    _before = 0

    def __init__(self, side_by_side: int, threads: int) -> None:
        self._each = threads // side_by_side
        self._pool = ThreadPoolExecutor(side_by_side)

    def begun(self, calls: list[Call]) -> Pending:
        """Puts calls at the end of the queue."""
        with Calls._lock:
            if not Calls._left:
                Calls._before = torch.get_num_threads()
            Calls._left += len(calls)
        return Pending([self._pool.submit(self._made, call) for call in calls])

    def _made(self, call: Call) -> torch.Tensor:
        try:
            torch.set_num_threads(self._each)
            return call()
        finally:
            with Calls._lock:
                Calls._left -= 1
                if not Calls._left:
                    torch.set_num_threads(Calls._before)


def side_by_side(threads: int, calls: int) -> int:
    """How many of a batch's calls run at a time: as many as share the threads evenly.

    Example:
        >>> [side_by_side(threads, 4) for threads in (1, 2, 3, 4, 6, 8, 16)]
        [1, 2, 3, 4, 3, 4, 4]
    """
    return max(many for many in range(1, calls + 1) if threads % many == 0)
