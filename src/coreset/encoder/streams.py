"""Calls of a model on a CPU: each on one thread, as many side by side as there are threads.

Threads that share one call wait for each other after each of its operations, some hundred times, and the longer the
more a decoder takes a core away from one of them. Calls that each have a thread wait once, at their end; and what a
call computes does not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

PART = 16
"""Pictures of one call: a batch gives every thread some, and what one call computes stays near its core."""

Call = Callable[[], torch.Tensor]


class Streams:
    """So many threads, of which each makes one call at a time.

    Example:
        >>> [found.item() for found in Streams(2).made([lambda n=n: torch.tensor(n) for n in range(3)])]
        [0, 1, 2]
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "coreset-model", initializer=torch.set_num_threads, initargs=(1,))

    def made(self, calls: list[Call]) -> list[torch.Tensor]:
        """What the calls give, in their order; the first error of one of them is raised."""
        return list(self._pool.map(_made, calls))


@torch.inference_mode()
def _made(call: Call) -> torch.Tensor:
    return call()
