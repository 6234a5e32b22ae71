"""The row that stands for each component, and how near every other row is to it."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt64

from coreset.numeric.blocks import RowBlocks, block_tensor, row_slices

Keep = Literal["median", "nearest", "farthest"]


def chosen_members(
    labels: Int64[np.ndarray, "n"],
    squared_distances: Float64[np.ndarray, "n"],
    order: UInt64[np.ndarray, "n"],
    keep: Keep = "median",
) -> Int64[np.ndarray, "c"]:
    """The index of the kept row of each component, in the order of the component's label.

    Args:
        labels: the component of each row; any integers.
        squared_distances: exact squared distance of each row to its centroid.
        order: place of each row in (key hash, key) order; it decides between equal distances, smaller first.
        keep: ``median`` keeps element ``m // 2``, counted from 0, of the m rows in ascending distance: of two rows the
            farther one. ``nearest`` and ``farthest`` keep the ends; of equally far rows the one with the smaller order.

    Source:
        BAAI-DCAI/Dataset-Pruning, LAION: the middle of each component by distance to the centroid.

    Example:
        >>> labels = np.array([0, 0, 0, 3])
        >>> chosen_members(labels, np.array([3.0, 1.0, 2.0, 9.0]), np.arange(4, dtype=np.uint64))
        array([2, 3])
    """
    distance = -squared_distances if keep == "farthest" else squared_distances
    ranked = np.lexsort((order, distance, labels))
    _, first, sizes = np.unique(labels[ranked], return_index=True, return_counts=True)
    return ranked[first + sizes // 2] if keep == "median" else ranked[first]


def kept_cosines(
    vectors: RowBlocks, kept: Int64[np.ndarray, "n"], *, memory: int = 1 << 30
) -> Float32[np.ndarray, "n"]:
    """The exact ``<x_i, x_kept(i)>`` of each row, rounded once to float32.

    Args:
        vectors: float16 rows near unit length.
        kept: the index of the row that is kept for row i.
        memory: bytes that may be allocated beyond the vectors.

    Example:
        >>> kept_cosines(np.array([[1, 0], [0.5, 0.5]], np.float16), np.array([0, 0]))
        array([1. , 0.5], dtype=float32)
    """
    n, d = vectors.shape
    cosines = np.empty(n, np.float32)
    for rows in row_slices(n, max(1, memory // (48 * max(d, 1)))):
        wanted, position = np.unique(kept[rows], return_inverse=True)
        x = block_tensor(vectors, rows).double()
        y = _rows_at(vectors, wanted)[torch.from_numpy(position)].double()
        cosines[rows] = torch.linalg.vecdot(x, y).numpy()
    return cosines


def _rows_at(vectors: RowBlocks, wanted: Int64[np.ndarray, "r"]) -> torch.Tensor:
    """The wanted rows (ascending), read as slices: one for each run without a gap."""
    ends = np.flatnonzero(np.diff(wanted) != 1) + 1
    runs = np.split(wanted, ends)
    return torch.cat([block_tensor(vectors, slice(int(run[0]), int(run[-1]) + 1)) for run in runs if len(run)])
