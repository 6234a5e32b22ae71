"""The row that stands for each component, and how near every other row is to it."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt64

from coreset.numeric.blocks import RowBlocks, block_tensor, rows_at, streamed, workers

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


def kept_products(
    vectors: RowBlocks, kept: Int64[np.ndarray, "n"], *, memory: int = 1 << 30
) -> Float64[np.ndarray, "n"]:
    """The exact ``<x_i, x_kept(i)>`` of each row.

    Args:
        vectors: float16 rows near unit length.
        kept: the index of the row that is kept for row i.
        memory: bytes that may be allocated beyond the vectors.

    Example:
        >>> kept_products(np.array([[1, 0], [0.5, 0.5]], np.float16), np.array([0, 0]))
        array([1. , 0.5])
    """
    n, d = vectors.shape
    products = np.empty(n)

    def measure(rows: slice) -> None:
        x = block_tensor(vectors, rows)
        y = x.clone()
        other = np.flatnonzero(kept[rows] != np.arange(rows.start, rows.stop))  # most rows stand for themselves
        if len(other):
            wanted, position = np.unique(kept[rows][other], return_inverse=True)
            y[torch.from_numpy(other)] = rows_at(vectors, wanted)[torch.from_numpy(position)]
        products[rows] = torch.linalg.vecdot(x.double(), y.double()).numpy()

    with workers(None) as (pool, count):
        list(pool.map(measure, streamed(n, 48 * d, memory // count)))
    return products


def kept_cosines(
    vectors: RowBlocks, kept: Int64[np.ndarray, "n"], *, memory: int = 1 << 30
) -> Float32[np.ndarray, "n"]:
    """The same, rounded once to float32.

    Example:
        >>> kept_cosines(np.array([[1, 0], [0.5, 0.5]], np.float16), np.array([0, 0]))
        array([1. , 0.5], dtype=float32)
    """
    return kept_products(vectors, kept, memory=memory).astype(np.float32)
