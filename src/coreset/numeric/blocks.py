"""Rows read block by block, and their exact products.

Why float64 is exact here: a float16 number is a multiple of 2^-24, so a product of two is a multiple of 2^-48, and so is every
partial sum of an inner product. Partial sums are bounded by ``|x| |y|`` (Cauchy-Schwarz). While that is at most 2^5, every one of
them fits the 53 bits of a float64, so the result is exact in any order of summation, with or without fused multiply-add.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Float64, Int64

MAX_SQUARED_NORM = 2.0  # far above unit vectors, far below the 2^5 at which float64 sums could round
_PAIRS_AT_ONCE = 8192  # a gather of 8192 float64 pairs of 768 numbers: 100 MB


@runtime_checkable
class RowBlocks(Protocol):
    """Anything that is sliced by rows: an array, a memory map, a reader over several files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows and of dimensions."""
        ...

    def __getitem__(self, rows: slice, /) -> Float16[np.ndarray, "b d"]:
        """The rows of a slice, in order."""
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
    block = np.asarray(vectors[rows])
    if block.dtype != np.float16:
        raise ValueError(f"vectors are {block.dtype}; they must be float16")
    # torch refuses to share read-only memory quietly; a copy of a memory map is the read itself.
    return torch.from_numpy(np.require(block, requirements=["C", "W"]))


def squared_norms(vectors: RowBlocks, *, memory: int = 1 << 30) -> Float64[np.ndarray, "n"]:
    """The exact ``<x, x>`` of each row.

    Raises:
        ValueError: if a row is not finite, or longer than float64 sums stay exact for (``<x, x>`` above 2).

    Example:
        >>> squared_norms(np.array([[1, 0], [0.5, 0.5]], np.float16))
        array([1. , 0.5])
    """
    n, d = vectors.shape
    norms = np.empty(n)
    for rows in row_slices(n, max(1, memory // (32 * max(d, 1)))):
        block = block_tensor(vectors, rows).double()
        norms[rows] = torch.linalg.vecdot(block, block).numpy()
    if not np.all(norms <= MAX_SQUARED_NORM):  # false for NaN too
        row = int(np.argmin(norms <= MAX_SQUARED_NORM))
        raise ValueError(f"row {row} has <x, x> = {norms[row]}; rows must be near unit length, at most {MAX_SQUARED_NORM}")
    return norms


def pair_products(
    left: torch.Tensor, right: torch.Tensor, i: Int64[np.ndarray, "p"], j: Int64[np.ndarray, "p"]
) -> Float64[np.ndarray, "p"]:
    """The exact ``<left[i], right[j]>`` of pairs of rows (float16 rows, or float32 multiples of 2^-24)."""
    products = np.empty(len(i))
    for pairs in row_slices(len(i), _PAIRS_AT_ONCE):
        x = left[torch.from_numpy(i[pairs])].double()
        y = right[torch.from_numpy(j[pairs])].double()
        products[pairs] = torch.linalg.vecdot(x, y).numpy()
    return products


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Runs torch on this many threads inside the block; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
