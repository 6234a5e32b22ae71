"""The maximum spanning forest of the graph of near-duplicates: one answer for every threshold above a floor.

Rows that are connected above a threshold are connected by edges of the forest above it. So n - 1 edges at most say
what the components are at every threshold, and how many (Kruskal).

All pairs pass the screen of `codes`, as for `connected_components`, but a pair is of use as long as its cosine may
exceed its *bottleneck* (`bottlenecks`), connected or not. The screen knows an upper bound of the cosine,

    <x, y>  <=  floor + s^2 T,

so a pair with ``s^2 T < bottleneck - floor`` is dropped without an exact product. The forest grows group by group.
A group is a random sample of the rows left, compared with all of them. After groups of g rows in all, a row's
bottleneck is about the best of g cosines; so of its next pairs about one in g is better, and a group twice as large
finds no more than the one before. Dense graphs take a few pairs for each row and doubling, not all of them.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int32, Int64

from coreset.numeric.blocks import RowBlocks, row_slices, rows_at, workers
from coreset.numeric.bottlenecks import Edges, joined
from coreset.numeric.copies import copies
from coreset.numeric.growing import Growing, codes_in
from coreset.numeric.products import fastest_engine
from coreset.numeric.survey import Survey, surveyed
from coreset.numeric.tiles import Rows
from coreset.numeric.union import merge, roots

_FIRST_GROUP = 64
_TINY = 128  # rows for which one exact product is faster than a survey


@dataclass(frozen=True)
class Forest:
    """A maximum spanning forest, heaviest edge first; of equal cosines, by u, then v.

    Attributes:
        u: place of an edge's one end in the order of the rows
        v: of its other end, larger than u
        cosine: exact
    """

    u: Int32[np.ndarray, "e"]
    v: Int32[np.ndarray, "e"]
    cosine: Float64[np.ndarray, "e"]

    def __len__(self) -> int:
        return len(self.u)


def spanning_forest(
    vectors: RowBlocks,
    floor: float,
    order: Int64[np.ndarray, "n"],
    *,
    memory: int = 1 << 30,
    threads: int | None = None,
    device: str = "cpu",
) -> Forest:
    """The maximum spanning forest of the graph with an edge where ``<x_i, x_j> > floor``, strictly.

    It is unique: of edges with equal cosines, the one whose smaller end comes first in ``order`` is taken first,
    then the one whose larger end does. So it is a function of the vectors, the floor and the order of the rows.

    Args:
        vectors: float16 rows near unit length.
        floor: a finite cosine; a pair exactly at it is no edge.
        order: the place of each row in an order of all: a permutation of 0 to n - 1.
        memory: bytes that may be allocated beyond the vectors.
        threads: threads to use; None: as many as torch would use.
        device: a torch device for the integer products. Only ``cpu`` has ever been run.

    Raises:
        ValueError: if the floor is not finite, or a row is not finite, not float16 or far too long.

    Example:
        >>> x = np.array([[1, 0], [0.75, 0.5], [0.5, 0.75]], np.float16)
        >>> forest = spanning_forest(x, 0.4, np.arange(3))
        >>> forest.u.tolist(), forest.v.tolist(), forest.cosine.tolist()
        ([0, 1], [1, 2], [0.75, 0.75])
    """
    if not np.isfinite(floor):
        raise ValueError(f"floor is {floor}; it must be finite")
    n, d = vectors.shape
    if n == 0:
        return _in_order(joined([]), order)
    with workers(threads) as (pool, count):
        side = 1024 if n > 8192 else 512
        while side > 64 and count * (32 * side**2 + 24 * side * d) > (memory - 200 * n) // 2:
            side //= 2
        store = n * (d + 64) <= (memory - 200 * n) // 2
        survey = surveyed(vectors, floor, pool=pool, store=store, centred=fastest_engine(device).rounding == 0)
        growing = Growing(survey, floor, fastest_engine(device, survey.longest), order, side)
        later, first = _copies(survey, order)
        single: Rows = np.setdiff1d(np.arange(n), later)
        rest = _settle_odd(growing, single, pool)
        _settle_groups(growing, rest, pool, 4 * side if store else 32 * side)
        growing.merge()
        grown = joined([growing.forest, _edges_of_copies(growing.forest, survey, floor, order, later, first)])
    return _in_order(grown, order)


def components_above(n: int, forest: Forest, threshold: float) -> Int64[np.ndarray, "n"]:
    """The component of each row, as its smallest place, at a threshold that is not below the forest's floor.

    Example:
        >>> forest = Forest(np.int32([1, 0]), np.int32([2, 1]), np.array([0.9, 0.85]))
        >>> components_above(3, forest, 0.86).tolist()
        [0, 1, 1]
    """
    parent = np.arange(n)
    edges = int(np.searchsorted(-forest.cosine, -threshold))
    merge(parent, forest.u[:edges].astype(np.int64), forest.v[:edges].astype(np.int64))
    return roots(parent, np.arange(n))


def _settle_odd(growing: Growing, single: Rows, pool: ThreadPoolExecutor) -> Rows:
    """Compares rows without codes with all others, exactly; the rows that are left to compare."""
    odd = growing.survey.odd()[single]
    if len(single) <= _TINY:
        odd[:] = True

    def settle(tile: tuple[Rows, Rows]) -> None:
        rows, columns = tile
        growing.settle_exactly(rows, columns, np.ones((len(rows), len(columns)), bool))

    rows = [single[odd][part] for part in row_slices(int(odd.sum()), 64)]
    list(pool.map(settle, [(some, single[part]) for some in rows for part in row_slices(len(single), 1024)]))
    coded: Rows = single[~odd]
    return coded


def _settle_groups(growing: Growing, rest: Rows, pool: ThreadPoolExecutor, largest: int) -> None:
    """Compares all rows with each other, a group at a time."""
    rest = np.random.default_rng(0).permutation(rest)
    size = _FIRST_GROUP
    while len(rest):
        group, rest = rest[:size], rest[size:]
        group = group[np.argsort(growing.place[group])]
        columns = rest[np.argsort(growing.place[rest])]
        _settle_group(growing, group, columns, pool)
        size = min(2 * size, largest)
        if growing.found > len(growing.order):
            growing.draw_line()


def _settle_group(growing: Growing, group: Rows, columns: Rows, pool: ThreadPoolExecutor) -> None:
    """Compares a group with itself and with the columns; both in the order of the line."""
    blocks = [group[part] for part in row_slices(len(group), growing.side)]
    lefts = [codes_in(growing.survey.left, block) for block in blocks]
    chunks = [(block, number + 1) for number, block in enumerate(blocks)]
    chunks += [(columns[part], len(blocks)) for part in row_slices(len(columns), growing.side)]

    def settle(chunk: tuple[Rows, int]) -> None:
        right = codes_in(growing.survey.right, chunk[0])
        for rows, left in zip(blocks[: chunk[1]], lefts, strict=False):
            growing.settle(left, rows, right, chunk[0])

    list(pool.map(settle, chunks))


def _copies(survey: Survey, order: Int64[np.ndarray, "n"]) -> tuple[Rows, Rows]:
    """Rows that are a copy of a row before them in order, and the first such row."""
    later, first = copies(survey.vectors, survey.prints)
    group = np.unique(first)
    rows, original = np.concatenate([group, later]), np.concatenate([group, first])
    ranked = np.lexsort((order[rows], original))
    begins = np.flatnonzero(np.diff(original[ranked], prepend=-1))
    heads = np.repeat(rows[ranked][begins], np.diff(np.append(begins, len(ranked))))
    copied = np.ones(len(ranked), bool)
    copied[begins] = False
    return rows[ranked][copied], heads[copied]


def _edges_of_copies(
    forest: Edges, survey: Survey, floor: float, order: Int64[np.ndarray, "n"], later: Rows, first: Rows
) -> Edges:
    """The edge that each copy has in the forest of all rows, given the forest of the rows without copies.

    A copy comes after its original, whose edges have the same cosines and are taken first; what the copy's edges
    would join is joined by then. But its first edge is always taken: to the row with the largest cosine, ties to the
    smallest place: the original, or the row that the original's own first edge leads to.
    """
    heads, position = np.unique(first, return_inverse=True)
    cosine, other = np.full(len(heads), floor), np.full(len(heads), -1)
    for part in row_slices(len(heads), 2048):
        x = rows_at(survey.vectors, heads[part]).double()
        own = torch.linalg.vecdot(x, x).numpy()
        cosine[part] = np.where(own > floor, own, floor)
        other[part] = np.where(own > floor, heads[part], -1)
    for near, far in ((forest.i, forest.j), (forest.j, forest.i)):
        at = np.minimum(np.searchsorted(heads, near), max(len(heads) - 1, 0))
        mine = np.flatnonzero(heads[at] == near) if len(heads) else np.empty(0, np.int64)
        ranked = mine[np.lexsort((order[far[mine]], -forest.cosine[mine], at[mine]))]
        ranked = ranked[np.flatnonzero(np.diff(at[ranked], prepend=-1))]
        best, weight, end = at[ranked], forest.cosine[ranked], far[ranked]
        tied = (weight == cosine[best]) & (other[best] >= 0) & (order[end] < order[other[best]])
        better = (weight > cosine[best]) | tied
        cosine[best[better]], other[best[better]] = weight[better], end[better]
    wanted = other[position] >= 0
    return Edges(later[wanted], other[position][wanted], cosine[position][wanted])


def _in_order(edges: Edges, order: Int64[np.ndarray, "n"]) -> Forest:
    """The edges by the places of their ends, sorted."""
    a, b = order[edges.i], order[edges.j]
    u, v = np.minimum(a, b), np.maximum(a, b)
    ranked = np.lexsort((v, u, -edges.cosine))
    return Forest(u[ranked].astype(np.int32), v[ranked].astype(np.int32), edges.cosine[ranked])
