"""Rows read block by block, and their exact products.

Why float64 is exact here: a float16 number is a multiple of 2^-24, so a product of two is a multiple of
2^-48, and so is every partial sum of an inner product. A partial sum is at most ``|x| |y|`` (Cauchy-Schwarz).
While that is at most 2^5, each of them fits the 53 bits of a float64: the result is exact in any order of
summation, with or without fused multiply-add.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float16, Float64, Int64

MAX_SQUARED_NORM = 2.0  # far above unit vectors, far below the 2^5 at which float64 sums could round
_STREAMED = 8 << 20  # larger blocks are slower: their pages are fresh, and gone from the cache when they are read
_MAX_GAP = 16  # rows read and dropped rather than starting another read


@runtime_checkable
class RowBlocks(Protocol):
    """Anything sliced by rows, from several threads at once: an array, a memory map, a reader over files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows and of dimensions."""
        ...

    def __getitem__(self, rows: slice, /) -> Float16[np.ndarray, "b d"]:
        """The rows of a slice, in order."""
        ...


@runtime_checkable
class ChosenRows(RowBlocks, Protocol):
    """Rows that can also be read one by one, faster than slice by slice."""

    def chosen(self, wanted: Int64[np.ndarray, "r"], /) -> Float16[np.ndarray, "r d"]:
        """The rows at some indices, ascending."""
        ...


def row_slices(n: int, size: int) -> list[slice]:
    """Consecutive slices of at most ``size`` rows that cover ``n`` rows.

    Example:
        >>> row_slices(5, 2)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def block_tensor(vectors: RowBlocks, rows: slice) -> torch.Tensor:
    """The rows of a slice as a float16 tensor.

    Raises:
        ValueError: if the rows are not float16.
    """
    return _tensor(vectors[rows])


def rows_at(vectors: RowBlocks, wanted: Int64[np.ndarray, "r"]) -> torch.Tensor:
    """The wanted rows (ascending indices) as a float16 tensor; near ones are read together.

    Example:
        >>> rows_at(np.eye(3, dtype=np.float16), np.array([0, 2])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if isinstance(vectors, np.ndarray) or not len(wanted):
        whole = len(wanted) and wanted[-1] - wanted[0] + 1 == len(wanted)
        return _tensor(vectors[slice(wanted[0], wanted[-1] + 1)] if whole else np.asarray(vectors)[wanted])
    if isinstance(vectors, ChosenRows):
        return _tensor(vectors.chosen(wanted))
    ends = np.flatnonzero(np.diff(wanted) > _MAX_GAP) + 1
    runs = np.split(wanted, ends)
    return torch.cat([_tensor(vectors[slice(int(r[0]), int(r[-1]) + 1)][r - r[0]]) for r in runs])


def _tensor(block: np.ndarray) -> torch.Tensor:
    if block.dtype != np.float16:
        raise ValueError(f"vectors are {block.dtype}; they must be float16")
    # torch refuses to share read-only memory quietly; a copy of a memory map is the read itself.
    return torch.from_numpy(np.require(np.asarray(block), requirements=["C", "W"]))


def checked_norms(norms: Float64[np.ndarray, "b"], first: int) -> None:
    """Refuses rows that are not finite or far too long; ``first`` is the index of the first of them.

    Raises:
        ValueError: if a squared norm is not at most 2.
    """
    good = norms <= MAX_SQUARED_NORM  # false for NaN too
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"row {first + row} has <x, x> = {norms[row]}; it must be finite and at most 2")


def streamed(n: int, row_bytes: int, memory: int) -> list[slice]:
    """Blocks of rows for a pass that keeps nothing: small enough to stay near the caches, and within the memory.

    Args:
        n: rows in all.
        row_bytes: what a row takes while it is worked on.
        memory: of one thread.
    """
    return row_slices(n, max(1, min(memory, _STREAMED) // max(1, row_bytes)))


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Runs torch on this many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def workers(threads: int | None) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Python threads that each run torch on one thread, and how many; None: as many as torch would use.

    Blocks are independent, so a thread never waits for another inside a product. On busy cores the barriers
    of a product that is itself spread over threads cost more than the product.

    Raises:
        ValueError: if there are fewer than one.
    """
    count = torch.get_num_threads() if threads is None else threads
    if count < 1:
        raise ValueError(f"threads is {count}; it must be at least 1")
    with torch_threads(1), ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool, count
