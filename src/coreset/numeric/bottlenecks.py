"""What a forest already says about a pair of rows: the weakest link between them.

The *bottleneck* of two rows is the smallest cosine on the path that joins them in a maximum spanning forest, -inf
if none does. A pair whose cosine is below its bottleneck cannot be an edge of the forest (the cycle rule), so a
screen that knows the bottlenecks leaves few pairs to look at.

Kruskal's algorithm merges groups of rows, heaviest edge first. Written in a line so that every group stays together,
with the merging cosine in the gap between the two halves, the bottleneck of two rows is the smallest gap between
them. So between the rows of one stretch of the line and those of another, it is the smaller of two numbers, one for
each row: an outer minimum, as cheap as a comparison.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

_FARTHEST = np.iinfo(np.int32).max

Places = Int64[np.ndarray, "_"]  # ascending places in the line; a signature may hold several


@dataclass(frozen=True)
class Edges:
    """Pairs of rows with their cosines."""

    i: Int64[np.ndarray, "e"]
    j: Int64[np.ndarray, "e"]
    cosine: Float64[np.ndarray, "e"]

    def __len__(self) -> int:
        return len(self.i)

    def __getitem__(self, wanted: np.ndarray) -> "Edges":
        return Edges(self.i[wanted], self.j[wanted], self.cosine[wanted])


def joined(edges: list[Edges]) -> Edges:
    """All edges in one list."""
    none = np.empty(0, np.int64)
    edges = [Edges(none, none, np.empty(0)), *edges]
    return Edges(
        np.concatenate([some.i for some in edges]),
        np.concatenate([some.j for some in edges]),
        np.concatenate([some.cosine for some in edges]),
    )


def heaviest_forest(edges: Edges, order: Int64[np.ndarray, "n"]) -> Edges:
    """The maximum spanning forest of some edges, heaviest first: unique, because ties are broken by the rows' order.

    Args:
        edges: each with two different ends; a pair may be listed more than once, with one cosine.
        order: a different number below 2^31 for each row. Of equal cosines, the edge whose smaller end is smaller
            comes first, then the one whose larger end is.

    Example:
        >>> triangle = Edges(np.array([0, 1, 2]), np.array([1, 2, 0]), np.array([0.5, 0.9, 0.5]))
        >>> forest = heaviest_forest(triangle, np.arange(3))
        >>> forest.i.tolist(), forest.j.tolist()
        ([1, 0], [2, 1])
    """
    a, b = order[edges.i], order[edges.j]
    pair = np.minimum(a, b) << 32 | np.maximum(a, b)
    ranked = np.lexsort((pair, -edges.cosine))
    ranked = ranked[np.diff(pair[ranked], prepend=-1) != 0]
    rows, ends = np.unique(np.concatenate([edges.i[ranked], edges.j[ranked]]), return_inverse=True)
    u, v = ends[: len(ranked)], ends[len(ranked) :]
    # A repeated cell would be summed: each pair is listed once, but perhaps as (u, v) here and (v, u) elsewhere.
    rank = np.arange(1, len(ranked) + 1, dtype=np.float64)
    graph = csr_array((rank, (np.minimum(u, v), np.maximum(u, v))), shape=(len(rows), len(rows)))
    kept = np.sort(minimum_spanning_tree(graph).data).astype(np.int64) - 1
    return edges[ranked[kept]]


def line_of(n: int, forest: Edges) -> tuple[Int64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The rows in a line, and the cosine in the gap after each: see the module's docstring.

    Args:
        n: rows in all.
        forest: heaviest first.

    Returns:
        The rows; for each place in the line its bottleneck with the next one, -inf between components and at the end.

    Example:
        >>> forest = Edges(np.array([1, 0]), np.array([2, 1]), np.array([0.9, 0.5]))
        >>> line, gaps = line_of(4, forest)
        >>> line.tolist(), gaps.tolist()
        ([0, 1, 2, 3], [0.5, 0.9, -inf, -inf])
    """
    group = list(range(n))  # towards the row that names the group
    last = list(range(n))  # of the group named by a row, which is its first
    following: list[int] = [-1] * n
    gap = [-np.inf] * n
    for u, v, cosine in zip(forest.i.tolist(), forest.j.tolist(), forest.cosine.tolist(), strict=True):
        a, b = _named(group, u), _named(group, v)
        if a > b:
            a, b = b, a
        end = last[a]
        following[end], gap[end] = b, cosine
        last[a], group[b] = last[b], a
    line = np.empty(n, np.int64)
    firsts = np.flatnonzero(np.array(group) == np.arange(n)).tolist()
    place = 0
    for row in firsts:
        at = row
        while at >= 0:
            line[place] = at
            place, at = place + 1, following[at]
    return line, np.array(gap)[line]


def _named(group: list[int], row: int) -> int:
    while group[row] != row:
        group[row] = group[group[row]]
        row = group[row]
    return row


def smallest_between(gaps: Int32[np.ndarray, "n"], rows: Places, columns: Places) -> Int32[np.ndarray, "b c"]:
    """The smallest gap between each of some places and each of others; 2^31 - 1 between a place and itself.

    Args:
        gaps: after each place, before the next.
        rows: ascending places.
        columns: ascending places.

    Example:
        >>> smallest_between(np.array([5, 3, 4, 0], np.int32), np.array([0, 2]), np.array([2, 3])).tolist()
        [[3, 3], [2147483647, 4]]
    """
    found = np.empty((len(rows), len(columns)), np.int32)
    first, last = int(columns[0]), int(columns[-1])
    left, right = np.searchsorted(rows, first), np.searchsorted(rows, last, side="right")
    if left:
        to_first = _down(_spans(gaps, np.append(rows[:left], first)))
        np.minimum.outer(to_first, _up(_spans(gaps, columns)), out=found[:left])
    if left < right:
        found[left:right] = _inside(gaps, rows[left:right], columns)
    if right < len(rows):
        from_last = np.minimum.accumulate(_spans(gaps, np.insert(rows[right:], 0, last)))
        suffix = np.append(_down(_spans(gaps, columns)), np.int32(_FARTHEST))
        np.minimum.outer(from_last, suffix, out=found[right:])
    return found


def _spans(gaps: Int32[np.ndarray, "n"], places: Places) -> Int32[np.ndarray, "_"]:
    """The smallest gap between each place and the next one of the list."""
    if len(places) < 2:
        return np.empty(0, np.int32)
    found: Int32[np.ndarray, "_"] = np.minimum.reduceat(gaps[: places[-1]], places[:-1]) if places[-1] else gaps[:0]
    return found


def _up(spans: Int32[np.ndarray, "_"]) -> Int32[np.ndarray, "_"]:
    """The smallest gap between the first place and each one."""
    return np.minimum.accumulate(np.insert(spans, 0, np.int32(_FARTHEST)))


def _down(spans: Int32[np.ndarray, "_"]) -> Int32[np.ndarray, "_"]:
    """The smallest gap between each place but the last, and the last."""
    found: Int32[np.ndarray, "_"] = np.minimum.accumulate(spans[::-1])[::-1]
    return found


def _inside(gaps: Int32[np.ndarray, "n"], rows: Places, columns: Places) -> Int32[np.ndarray, "b c"]:
    """As `smallest_between`, for rows between the first column and the last."""
    spans = _spans(gaps, columns)
    at = np.arange(len(columns))
    after = np.searchsorted(columns, rows, side="left")[:, None]  # the first column that is not before the row
    before = np.searchsorted(columns, rows, side="right")[:, None] - 1  # the last one that is not after it
    upward = np.where(at > after, np.append(np.int32(_FARTHEST), spans), np.int32(_FARTHEST))
    upward[np.arange(len(rows)), after[:, 0]] = _edge_spans(gaps, rows, columns[after[:, 0]])
    np.minimum.accumulate(upward, axis=1, out=upward)
    downward = np.where(at < before, np.append(spans, np.int32(_FARTHEST)), np.int32(_FARTHEST))
    downward[np.arange(len(rows)), before[:, 0]] = _edge_spans(gaps, columns[before[:, 0]], rows)
    found = np.minimum.accumulate(downward[:, ::-1], axis=1)[:, ::-1]
    return np.where(at >= after, upward, found)


def _edge_spans(gaps: Int32[np.ndarray, "n"], low: Places, high: Places) -> Int32[np.ndarray, "b"]:
    """The smallest gap between two places, for each of some pairs."""
    bounds = np.stack([low, high], axis=1).ravel()
    found: Int32[np.ndarray, "b"] = np.minimum.reduceat(np.append(gaps, np.int32(_FARTHEST)), bounds)[::2]
    return np.where(low == high, np.int32(_FARTHEST), found)
