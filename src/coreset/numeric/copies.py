"""Exact copies of rows, found by their bytes."""

import numpy as np
from jaxtyping import Float16, Int64, UInt64

from coreset.numeric.blocks import RowBlocks, rows_at


def fingerprints(rows: Float16[np.ndarray, "b d"]) -> UInt64[np.ndarray, "b"]:
    """A number for each row, equal for equal bytes and seldom otherwise.

    Example:
        >>> a, b, c = fingerprints(np.array([[1, 2], [1, 2], [2, 1]], np.float16))
        >>> (a == b, a == c)
        (np.True_, np.False_)
    """
    d = rows.shape[1]
    words = np.ascontiguousarray(rows).view(np.uint16)
    if d % 4 == 0:
        words = words.view(np.uint64)
    odd = np.random.default_rng(d).integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    mixed = words.astype(np.uint64, copy=False) * odd
    prints: UInt64[np.ndarray, "b"] = (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)
    return prints


def copies(
    vectors: RowBlocks, prints: UInt64[np.ndarray, "n"], *, at_once: int = 2048
) -> tuple[Int64[np.ndarray, "m"], Int64[np.ndarray, "m"]]:
    """Rows that are byte for byte a copy of an earlier row, and that earlier row.

    Rows with equal fingerprints are compared in full with the first of them.

    Example:
        >>> x = np.array([[1, 2], [3, 4], [1, 2]], np.float16)
        >>> copies(x, fingerprints(x))
        (array([2]), array([0]))
    """
    ranked = np.argsort(prints, kind="stable")
    new = np.ones(len(prints), bool)
    new[1:] = prints[ranked[1:]] != prints[ranked[:-1]]
    first = ranked[np.flatnonzero(new)][np.cumsum(new) - 1]
    later, first = ranked[~new], first[~new]
    by_row = np.argsort(later)
    later, first = later[by_row], first[by_row]
    same = np.ones(len(later), bool)
    for start in range(0, len(later), at_once):
        part = slice(start, start + at_once)
        originals, position = np.unique(first[part], return_inverse=True)
        a = rows_at(vectors, later[part]).numpy().view(np.uint16)
        b = rows_at(vectors, originals).numpy().view(np.uint16)[position]
        same[part] = (a == b).all(axis=1)
    return later[same], first[same]
