"""Distances to centroids, exact, and the nearest centroid of each row.

With centroid components that are multiples of 2^-24 and ``|c| <= 4`` (see ``rounded_centroids``) and rows of
float16 near unit length, ``<x, c>``, ``|c|^2`` and ``|x - c|^2 = |x|^2 - 2 <x, c> + |c|^2`` are multiples of 2^-48
below 2^5: exact in float64, in any order.
"""

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32

from coreset.numeric.blocks import RowBlocks, block_tensor, checked_norms, row_slices, streamed, workers
from coreset.numeric.candidates import centroid_norms, fitted_screen
from coreset.numeric.pairs import pair_products

_GRID = 2.0**24  # centroid components are multiples of 1 / _GRID
_MAX_NORM = 4.0


def rounded_centroids(centroids: Float32[np.ndarray, "k d"]) -> Float32[np.ndarray, "k d"]:
    """The centroids with every component rounded to a multiple of 2^-24, ties to even; never -0.0.

    Raises:
        ValueError: if a centroid is not finite or longer than 4.

    Example:
        >>> rounded_centroids(np.array([[0.5, 2**-26]], np.float32))
        array([[0.5, 0. ]], dtype=float32)
    """
    rounded = np.rint(centroids.astype(np.float64) * _GRID) / _GRID + 0.0
    norms = np.square(rounded).sum(axis=1)
    good = norms <= _MAX_NORM**2  # false for NaN too
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"centroid {row} has norm {norms[row] ** 0.5}; it must be finite and at most {_MAX_NORM}")
    return rounded.astype(np.float32)


def squared_distances(
    vectors: RowBlocks, centroid: Float32[np.ndarray, "d"], *, memory: int = 1 << 30
) -> Float64[np.ndarray, "n"]:
    """The exact ``|x - c|^2`` of each row to one centroid.

    Args:
        vectors: float16 rows near unit length.
        centroid: multiples of 2^-24, as ``rounded_centroids`` gives them.
        memory: bytes that may be allocated beyond the vectors.

    Example:
        >>> squared_distances(np.array([[1, 0], [0, 1]], np.float16), np.array([0.5, 0], np.float32))
        array([0.25, 1.25])
    """
    n, d = vectors.shape
    c = torch.from_numpy(centroid.astype(np.float64))
    distances = np.empty(n)

    def measure(rows: slice) -> None:
        offset = block_tensor(vectors, rows).double() - c
        distances[rows] = torch.linalg.vecdot(offset, offset).numpy()

    with workers(None) as (pool, count):
        list(pool.map(measure, streamed(n, 32 * d, memory // count)))
    return distances


def centroid_cosines(
    vectors: RowBlocks,
    centroids: Float32[np.ndarray, "k d"],
    assigned: Int32[np.ndarray, "n"],
    *,
    memory: int = 1 << 30,
) -> Float32[np.ndarray, "n"]:
    """``float32(<x, c> / sqrt(<c, c>))`` of each row with the centroid it is assigned to; 0 where c = 0.

    Each operation is one float64 rounding; the two inner products are exact.

    Example:
        >>> x = np.array([[1, 0], [0.6, 0.8]], np.float16)
        >>> centroid_cosines(x, np.array([[2, 0], [0, 0]], np.float32), np.array([0, 1], np.int32))
        array([1., 0.], dtype=float32)
    """
    n, d = vectors.shape
    lengths = np.sqrt(centroid_norms(centroids))[assigned]
    exact = torch.from_numpy(np.require(centroids, requirements=["C", "W"]))
    cosines = np.zeros(n, np.float32)

    def measure(rows: slice) -> None:
        x = block_tensor(vectors, rows)
        products = pair_products(x, exact, np.arange(len(x)), assigned[rows].astype(np.int64))
        filled = lengths[rows] > 0
        cosines[rows][filled] = products[filled] / lengths[rows][filled]

    with workers(None) as (pool, count):
        list(pool.map(measure, streamed(n, 48 * d, memory // count)))
    return cosines


def nearest_centroids(
    vectors: RowBlocks,
    centroids: Float32[np.ndarray, "k d"],
    *,
    memory: int = 1 << 30,
    threads: int | None = None,
    device: str = "cpu",
) -> tuple[Int32[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The nearest centroid of each row, ties to the lower index, and the exact squared distance to it.

    Args:
        vectors: float16 rows near unit length.
        centroids: at least one; multiples of 2^-24, as ``rounded_centroids`` gives them.
        memory: bytes that may be allocated beyond the vectors.
        threads: threads to use; None: as many as torch would use.
        device: a torch device for the integer products. Only ``cpu`` has ever been run.

    Raises:
        ValueError: if there is no centroid, or a row is not finite, not float16 or far too long.

    Example:
        >>> x = np.array([[1, 0], [0, 1]], np.float16)
        >>> nearest_centroids(x, np.array([[0.5, 0], [-0.5, 0]], np.float32))
        (array([0, 0], dtype=int32), array([0.25, 1.25]))
    """
    n, _ = vectors.shape
    if len(centroids) == 0:
        raise ValueError("there are no centroids")
    assigned, distances = np.empty(n, np.int32), np.empty(n)
    if n == 0:
        return assigned, distances
    with workers(threads) as (pool, count):
        screen = fitted_screen(vectors, centroids, device=device)
        side = _rows_at_once(vectors.shape[1], memory // count)

        def assign(rows: slice) -> None:
            block = block_tensor(vectors, rows)
            norms = _squared_lengths(block)
            checked_norms(norms, rows.start)
            nearest, nearer = screen.nearest(block)
            assigned[rows], distances[rows] = nearest, norms + nearer

        list(pool.map(assign, row_slices(n, side)))
    return assigned, distances


def _rows_at_once(d: int, memory: int) -> int:
    """Rows of a block such that its tile (products, masks, candidates) and its float64 rows fit."""
    side = 1024
    while side > 16 and side * (1024 * 14 + 24 * d) > memory // 2:
        side //= 2
    return side


def _squared_lengths(block: torch.Tensor) -> Float64[np.ndarray, "b"]:
    exact = block.double()
    lengths: Float64[np.ndarray, "b"] = torch.linalg.vecdot(exact, exact).numpy()
    return lengths
