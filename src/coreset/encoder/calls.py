"""Calls of a model, and the threads of torch that make them.

Threads that share one call wait for each other after each of its operations, the longer the more a decoder takes a core
away from one of them; calls side by side wait once, at their end. `numeric` has its own of this: neither imports the
other.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

Call = Callable[[], torch.Tensor]


def made(calls: list[Call], side_by_side: int, threads: int) -> list[torch.Tensor]:
    """What the calls give, in their order; torch has as many threads afterwards as before.

    Args:
        calls: of a model.
        side_by_side: how many run at a time; with 1, one after the other in this thread.
        threads: of torch, which those that run at a time share; a multiple of `side_by_side`.

    Example:
        >>> [found.item() for found in made([lambda n=n: torch.tensor(n) for n in range(3)], 2, 2)]
        [0, 1, 2]
    """
    each = threads // side_by_side
    before = torch.get_num_threads()
    torch.set_num_threads(each)
    try:
        if side_by_side == 1:
            return [call() for call in calls]
        with ThreadPoolExecutor(side_by_side, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            return list(pool.map(lambda call: call(), calls))
    finally:
        torch.set_num_threads(before)
