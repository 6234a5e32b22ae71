"""Distances to centroids, exact, and the nearest centroid of each row.

With centroid components that are multiples of 2^-24 and ``|c| <= 4`` (see ``rounded_centroids``) and rows of float16 near unit length,
``<x, c>``, ``|c|^2`` and ``|x - c|^2 = |x|^2 - 2 <x, c> + |c|^2`` are multiples of 2^-48 below 2^5: exact in float64, in any order.
"""

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Int64

from coreset.numeric.blocks import RowBlocks, block_tensor, pair_products, row_slices, squared_norms, torch_threads

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
    norms = np.sqrt(np.square(rounded).sum(axis=1))
    if not np.all(norms <= _MAX_NORM):  # false for NaN too
        row = int(np.argmin(norms <= _MAX_NORM))
        raise ValueError(f"centroid {row} has norm {norms[row]}; it must be finite and at most {_MAX_NORM}")
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
    for rows in row_slices(n, max(1, memory // (32 * max(d, 1)))):
        offset = block_tensor(vectors, rows).double() - c
        distances[rows] = torch.linalg.vecdot(offset, offset).numpy()
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
    lengths = np.sqrt(_centroid_norms(centroids))[assigned]
    exact = torch.from_numpy(np.require(centroids, requirements=["C", "W"]))
    cosines = np.zeros(n, np.float32)
    for rows in row_slices(n, max(1, memory // (48 * max(d, 1)))):
        x = block_tensor(vectors, rows)
        products = pair_products(x, exact, np.arange(len(x)), assigned[rows].astype(np.int64))
        filled = lengths[rows] > 0
        cosines[rows][filled] = products[filled] / lengths[rows][filled]
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
        threads: torch threads; None leaves them as they are.
        device: a torch device for the matrix products. Only ``cpu`` has ever been run.

    Raises:
        ValueError: if there is no centroid, or a row is not finite, not float16 or far too long.

    Example:
        >>> x = np.array([[1, 0], [0, 1]], np.float16)
        >>> nearest_centroids(x, np.array([[0.5, 0], [-0.5, 0]], np.float32))
        (array([0, 0], dtype=int32), array([0.25, 1.25]))
    """
    n, d = vectors.shape
    k = len(centroids)
    if k == 0:
        raise ValueError("there are no centroids")
    assigned, distances = np.empty(n, np.int32), np.empty(n)
    with torch_threads(threads):
        x_norms = squared_norms(vectors, memory=memory)
        c = torch.from_numpy(np.require(centroids, requirements=["C", "W"]))
        c_norms = _centroid_norms(centroids)
        bound = _float32_bound(d, float(x_norms.max(initial=0.0)), float(c_norms.max()))
        for rows in row_slices(n, max(1, min(4096, memory // (64 * k + 16 * d)))):
            x = block_tensor(vectors, rows)
            i, j = _candidates(x, c, c_norms, bound, device)
            exact = x_norms[rows][i] - 2 * pair_products(x, c, i, j) + c_norms[j]
            best = np.lexsort((j, exact, i))
            best = best[np.unique(i[best], return_index=True)[1]]
            assigned[rows], distances[rows] = j[best], exact[best]
    return assigned, distances


def _candidates(
    x: torch.Tensor, c: torch.Tensor, c_norms: Float64[np.ndarray, "k"], bound: float, device: str
) -> tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"]]:
    """The pairs (row, centroid) that a float32 product leaves in question: at least the nearest of each row."""
    offsets = torch.from_numpy(c_norms.astype(np.float32)).to(device)
    scores = torch.addmm(offsets, x.to(device).float(), c.to(device).T, alpha=-2)
    near = scores <= scores.amin(dim=1, keepdim=True) + 2 * bound
    i, j = near.cpu().nonzero(as_tuple=True)
    return i.numpy(), j.numpy()


def _float32_bound(d: int, largest_x: float, largest_c: float) -> float:
    """How far a float32 ``|c|^2 - 2 <x, c>`` is from the exact one, at most.

    The product is off by ``2 (d + 2) u * 2 |x| |c|`` (any order, any rounding direction, u = 2^-24), and rounding ``|c|^2`` and the sum
    adds at most ``4 u (|c|^2 + 2 |x| |c|)``.
    """
    product = 2 * np.sqrt(largest_x * largest_c)
    return float(2.0**-24 * 1.01 * ((2 * d + 8) * product + 4 * largest_c)) + 2.0**-40


def _centroid_norms(centroids: Float32[np.ndarray, "k d"]) -> Float64[np.ndarray, "k"]:
    """The exact ``<c, c>`` of each centroid."""
    exact = centroids.astype(np.float64)
    return np.einsum("kd,kd->k", exact, exact)
