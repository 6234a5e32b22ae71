"""Lengths and inner products of rows in float64, a cache's worth of rows at a time.

For float16 rows near unit length both are exact before the root: a product of two float16 numbers is a multiple of
2^-48, and sums of such below 2^5 fit a float64. So nothing depends on the order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float16, Float32, Float64, Int32

TOLERANCE = 1e-3
"""A row counts as of length 1 if it is so up to this much; float16 storage moves a length by less than half of it."""

_CACHED_VALUES = 1 << 16  # half a megabyte as float64


@np.errstate(all="ignore")  # what is not finite shows in the result
def lengths(vectors: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n"]:
    """The length of each row; NaN or infinity where a number is not finite.

    Example:
        >>> lengths(np.array([[3, 4], [0, 0]], np.float16))
        array([5., 0.])
    """
    found = np.empty(len(vectors))
    for rows, exact in _widened(vectors):
        scale = _scales(exact) if vectors.dtype.itemsize == 8 else None
        scaled = exact if scale is None else np.ldexp(exact, -scale[:, None])
        roots = np.sqrt(np.vecdot(scaled, scaled))
        found[rows] = roots if scale is None else np.ldexp(roots, scale)
    return found


def unit_rows(vectors: Float[np.ndarray, "n d"]) -> Float16[np.ndarray, "n d"]:
    """The rows divided by their lengths, then rounded to float16; the lengths must be finite and above 0.

    Example:
        >>> unit_rows(np.array([[3, 4]], np.float32))
        array([[0.6, 0.8]], dtype=float16)
    """
    unit = np.empty(vectors.shape, np.float16)
    for rows, exact in _widened(vectors):
        scaled = np.ldexp(exact, -_scales(exact)[:, None])
        unit[rows] = scaled / np.sqrt(np.vecdot(scaled, scaled))[:, None]
    return unit


def inner_products(x: Float16[np.ndarray, "n d"], t: Float16[np.ndarray, "n d"]) -> Float32[np.ndarray, "n"]:
    """``<x, t>`` of each row of one array and the same row of another: summed in float64, rounded to float32.

    Example:
        >>> inner_products(np.array([[0.5, 0.5]], np.float16), np.array([[1, 0]], np.float16))
        array([0.5], dtype=float32)
    """
    found = np.empty(len(x), np.float32)
    for rows, exact in _widened(x):
        found[rows] = np.vecdot(exact, t[rows].astype(np.float64))
    return found


def correlation(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> float:
    """Pearson's correlation; 0 for fewer than two values, and where one of the two never changes.

    Example:
        >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))
        1.0
    """
    if len(a) < 2:
        return 0.0
    x, y = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (a, b))
    spread = float(np.sqrt(np.vecdot(x, x) * np.vecdot(y, y)))
    return round(float(np.vecdot(x, y)) / spread, 12) if spread > 0 else 0.0


def _scales(exact: Float64[np.ndarray, "b d"]) -> Int32[np.ndarray, "b"]:
    """For each row the power of two above its largest number, so that squares neither overflow nor vanish."""
    largest = np.abs(exact).max(axis=1, initial=0.0)
    exponents: Int32[np.ndarray, "b"] = np.frexp(np.where(np.isfinite(largest), largest, 1.0))[1]
    return exponents


def _widened(vectors: Float[np.ndarray, "n d"]) -> Iterator[tuple[slice, Float64[np.ndarray, "b d"]]]:
    """Slices of rows as float64, in memory that the next slice writes to."""
    step = max(1, _CACHED_VALUES // max(1, vectors.shape[1]))
    buffer = np.empty((min(step, len(vectors)), vectors.shape[1]))
    for start in range(0, len(vectors), step):  # numeric.blocks has the same, and imports torch
        rows = slice(start, min(start + step, len(vectors)))
        exact = buffer[: rows.stop - start]
        np.copyto(exact, vectors[rows])
        yield rows, exact
