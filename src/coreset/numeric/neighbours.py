"""How many of many rows are near to each of a few: every pair is decided, and none is stored.

The screen is that of `codes`: an integer product says of nearly every pair that it is below the threshold, or above it.
The others are decided by exact products, so the counts are the same on every machine.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float16, Int32, Int64

from coreset.numeric.blocks import RowBlocks, block_tensor, checked_norms, row_slices, rows_at, workers
from coreset.numeric.codes import LARGEST, Codes, Layout, Scale, coded_rows, fitted_layout, fitted_scale
from coreset.numeric.pairs import pair_products
from coreset.numeric.products import Engine, fastest_engine
from coreset.numeric.tiles import Rows

_SAMPLE = 1024
_SIDE = 512  # queries of a tile
_LISTED = 1 << 16  # pairs decided at once


@dataclass(frozen=True)
class Neighbours:
    """How many rows are above the threshold of each query, the query itself never counted; sums add up.

    Attributes:
        same: in the query's cluster
        other: in other clusters
        survivors: in other clusters, and kept there
    """

    same: Int64[np.ndarray, "m"]
    other: Int64[np.ndarray, "m"]
    survivors: Int64[np.ndarray, "m"]

    def __add__(self, more: Neighbours) -> Neighbours:
        return Neighbours(self.same + more.same, self.other + more.other, self.survivors + more.survivors)


def no_neighbours(m: int) -> Neighbours:
    """Counts of 0 for so many queries."""
    return Neighbours(np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m, np.int64))


@dataclass(frozen=True)
class Queried:
    """A few rows that are searched for among others.

    Attributes:
        vectors: float16 rows near unit length
        cluster: of each
        own: the index of each among the rows searched, -1 for one that is not among them
    """

    vectors: Float16[np.ndarray, "m d"]
    cluster: Int32[np.ndarray, "m"]
    own: Int64[np.ndarray, "m"]


def neighbours_counted(
    queries: Queried,
    vectors: RowBlocks,
    cluster: Int32[np.ndarray, "n"],
    kept: Bool[np.ndarray, "n"],
    threshold: float,
    *,
    memory: int = 1 << 30,
    threads: int | None = None,
    device: str = "cpu",
) -> Neighbours:
    """For each query how many rows have ``<x, query> > threshold``, strictly.

    Args:
        queries: what is searched for; at least one.
        vectors: float16 rows near unit length; at least one.
        cluster: of each row.
        kept: whether each row is a survivor.
        threshold: a finite cosine.
        memory: bytes that may be allocated beyond the vectors.
        threads: threads to use; None: as many as torch would use.
        device: a torch device for the integer products. Only ``cpu`` has ever been run.

    Raises:
        ValueError: if a row is not finite, not float16 or far too long.

    Example:
        >>> x = np.array([[1, 0], [0.8, 0.6], [0.96, 0.28]], np.float16)
        >>> queries = Queried(x[:1], np.int32([7]), np.array([0]))
        >>> found = neighbours_counted(queries, x, np.int32([7, 7, 8]), np.array([True, False, True]), 0.7)
        >>> found.same.tolist(), found.other.tolist(), found.survivors.tolist()
        ([1], [1], [1])
    """
    n, d = vectors.shape
    with workers(threads) as (pool, count):
        side = 4096
        while side > 64 and count * side * (14 * _SIDE + 24 * d) > memory // 2:
            side //= 2
        search = _searched(queries, vectors, cluster, kept, threshold, device)
        list(pool.map(search.settle, row_slices(n, side)))
    return search.found


@dataclass
class _Search:
    """Queries as codes, and what was found so far, shared by the threads that find more."""

    queries: Queried
    vectors: RowBlocks
    cluster: Int32[np.ndarray, "n"]
    kept: Bool[np.ndarray, "n"]
    threshold: float
    device: str
    scale: Scale
    layout: Layout
    rows: torch.Tensor
    codes: Codes
    left: torch.Tensor
    found: Neighbours
    lock: threading.Lock

    def settle(self, rows: slice) -> None:
        """Counts the rows of a block."""
        block = block_tensor(self.vectors, rows)
        codes, norms = coded_rows(block, self.scale)
        checked_norms(norms, rows.start)
        longest = max(self.codes.length, codes.length) ** 2 + 2 * self.layout.digits * LARGEST**2
        engine, right = fastest_engine(self.device, longest), self.layout.right(codes)
        for some in row_slices(len(self.rows), _SIDE):
            i, j = self._above(some, block, codes, engine.products(self.left[some], right), engine)
            other = self.queries.own[some][i] != rows.start + j
            self._count(some.start + i[other], rows.start + j[other])

    def _above(
        self, some: slice, block: torch.Tensor, codes: Codes, products: torch.Tensor, engine: Engine
    ) -> tuple[Rows, Rows]:
        """The pairs of some queries and a block of rows that are above the threshold."""
        whole = products.cpu().numpy()
        near: Bool[np.ndarray, "q b"] = whole > self.layout.limit
        odd = ~self.layout.holds(self.codes.b[some]), ~self.layout.holds(codes.b)
        near[odd[0]] = True
        near[:, odd[1]] = True
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        above = whole[i, j] - float(self.layout.limit)
        above -= engine.rounding * 2 * np.abs(above)
        sure = above > self.codes.r[some][i] + codes.r[j]
        sure &= ~odd[0][i] & ~odd[1][j]
        doubted = np.flatnonzero(~sure)
        for part in row_slices(len(doubted), _LISTED):
            these = doubted[part]
            sure[these] = pair_products(self.rows[some], block, i[these], j[these]) > self.threshold
        return i[sure], j[sure]

    def _count(self, i: Rows, j: Rows) -> None:
        """Add some pairs (query, row) that are above the threshold."""
        m = len(self.rows)
        same = self.queries.cluster[i] == self.cluster[j]
        counts = (np.bincount(i[which], minlength=m) for which in (same, ~same, ~same & self.kept[j]))
        more = Neighbours(*counts)
        with self.lock:
            self.found += more


def _searched(
    queries: Queried,
    vectors: RowBlocks,
    cluster: Int32[np.ndarray, "n"],
    kept: Bool[np.ndarray, "n"],
    threshold: float,
    device: str,
) -> _Search:
    """A search before it begins; the rows sampled decide how fast it is, never what it finds."""
    n = vectors.shape[0]
    rows = block_tensor(queries.vectors, slice(0, len(queries.vectors)))
    sample = rows_at(vectors, np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)))
    scale = fitted_scale(torch.cat([rows[:: -(-len(rows) // _SAMPLE)], sample]), threshold)
    codes, norms = coded_rows(rows, scale)
    checked_norms(norms, 0)
    b = np.concatenate([codes.b, coded_rows(sample, scale)[0].b])
    layout = fitted_layout(b, centred=fastest_engine(device).rounding == 0)
    left = layout.swapped(layout.right(codes))
    found, lock = no_neighbours(len(rows)), threading.Lock()
    return _Search(queries, vectors, cluster, kept, threshold, device, scale, layout, rows, codes, left, found, lock)
