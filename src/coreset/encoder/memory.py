"""Memory that ran out while a model was called, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from coreset.encoder.choice import Choice
from coreset.engine.errors import ResourceError


@contextmanager
def memory_said(choice: Choice) -> Iterator[None]:
    """Turns torch's error for memory that ran out into ours.

    Raises:
        ResourceError: It ran out within.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"A batch of {choice.batch_size} does not fit into the memory of {choice.device} beside {choice.name}; "
            f"use a smaller --batch-size."
        ) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out, of a GPU or of this machine.

    Example:
        >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), is_out_of_memory(RuntimeError("shapes"))
        (True, False)
    """
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
