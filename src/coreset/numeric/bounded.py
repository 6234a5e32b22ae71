"""Components in which every row is near the kept one: the answer to chains.

A component may be a chain whose ends are not alike. With a bound,

1. rows whose cosine to the kept row of their component is not above the bound leave it;
2. those that left are grouped again: the components of the graph of these rows alone, with one kept row for each;
3. and so on from 1 with these, until no row leaves.

This ends: the kept row of a component never leaves it, and there is one in each, so each time fewer rows leave than
the time before. Rows that leave different components have no edge between them, so grouping them together is
grouping each component's apart, and nothing depends on the order in which that is done.

There may be many rounds: as many as a long chain has balls of the bound's size in it. So no round compares rows
again where it can be helped: the pairs above the bound among all that left are found once, and all rounds then look
at this list. Where it would be too long for the memory, rows have many neighbours; then a round that compares all
rows that left (`components`) takes many of them out, and the list is tried again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float64, Int32, Int64, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as graph_components

from coreset.numeric.blocks import RowBlocks, rows_at
from coreset.numeric.components import connected_components
from coreset.numeric.members import Keep, chosen_members, kept_products
from coreset.numeric.near_pairs import NearPairs, near_pairs

_PAIR_BYTES = 64  # of a pair of the list at the most: as found, both ways, in rows, and a copy while rows are taken out


@dataclass(frozen=True)
class SomeRows:
    """Some rows of others, by ascending indices, as rows of their own."""

    vectors: RowBlocks
    rows: Int64[np.ndarray, "r"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows and of dimensions."""
        return (len(self.rows), self.vectors.shape[1])

    def __getitem__(self, rows: slice) -> Float16[np.ndarray, "b d"]:
        return self.chosen(np.arange(len(self.rows))[rows])

    def chosen(self, wanted: Int64[np.ndarray, "w"]) -> Float16[np.ndarray, "w d"]:
        """The rows at some indices, ascending."""
        found: Float16[np.ndarray, "w d"] = rows_at(self.vectors, self.rows[wanted]).numpy()
        return found


def bounded_members(
    vectors: RowBlocks,
    labels: Int64[np.ndarray, "n"],
    threshold: float,
    bound: float,
    distances: Float64[np.ndarray, "n"],
    order: UInt64[np.ndarray, "n"],
    keep: Keep = "median",
    *,
    memory: int = 1 << 30,
) -> Int64[np.ndarray, "n"]:
    """The kept row of each row's component, with ``<x, kept> > bound`` for all but the kept rows themselves.

    Args:
        vectors: float16 rows near unit length.
        labels: the component of each row at the threshold; any integers.
        threshold: what the components are of.
        bound: a finite cosine that is not above the threshold.
        distances: decide which row of a component is kept, see `chosen_members`.
        order: decides between equal distances.
        keep: which row of a component is kept.
        memory: bytes that may be allocated beyond the vectors; does not change the result.

    Example:
        >>> x = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96]], np.float16)  # a chain: 0.8, 0.8, and 0.28 from end to end
        >>> labels, distances, order = np.zeros(3, np.int64), np.array([2.0, 1.0, 0.0]), np.arange(3, dtype=np.uint64)
        >>> bounded_members(x, labels, 0.7, 0.5, distances, order, "nearest")
        array([0, 2, 2])
    """
    _, component = np.unique(labels, return_inverse=True)
    kept = chosen_members(labels, distances, order, keep)[component]
    left = np.flatnonzero(_leaves(vectors, kept, bound, memory))
    groups = component[left]
    while len(left):
        own = SomeRows(vectors, left)
        held = memory - 100 * len(left)
        pairs = near_pairs(own, groups, bound, threshold, max(0, held // 2) // _PAIR_BYTES, memory=held // 2)
        if pairs is not None:
            kept[left] = left[_grouped(pairs, distances[left], order[left], keep)]
            break
        _, groups = np.unique(connected_components(own, threshold, memory=held), return_inverse=True)
        again = chosen_members(groups, distances[left], order[left], keep)[groups]
        kept[left] = left[again]
        leaves = _leaves(own, again, bound, memory)
        left, groups = left[leaves], groups[leaves]
    return kept


def _leaves(vectors: RowBlocks, kept: Int64[np.ndarray, "n"], bound: float, memory: int) -> Bool[np.ndarray, "n"]:
    """Which rows are not near enough to the row that is kept for them; never the kept rows."""
    near = kept_products(vectors, kept, memory=memory) > bound
    leaves: Bool[np.ndarray, "n"] = ~near & (kept != np.arange(len(kept)))
    return leaves


def _grouped(
    pairs: NearPairs, distances: Float64[np.ndarray, "n"], order: UInt64[np.ndarray, "n"], keep: Keep
) -> Int64[np.ndarray, "n"]:
    """All rounds at once, given every pair above the bound: the kept row of each row."""
    kept = np.arange(len(order))
    near = _graph(pairs.i, pairs.j, len(order))
    joined = _graph(pairs.i[pairs.joined], pairs.j[pairs.joined], len(order))
    rows = np.arange(len(order))
    while len(rows):
        labels = graph_components(joined, directed=False)[1].astype(np.int64)
        chosen = chosen_members(labels, distances[rows], order[rows], keep)
        about = near[chosen].tocoo()  # row c: the rows that are near the kept one of component c
        stays = np.zeros(len(rows), np.bool_)
        stays[chosen] = True
        stays[about.col[labels[about.col] == about.row]] = True
        kept[rows[stays]] = rows[chosen[labels[stays]]]
        near, joined, rows = near[~stays][:, ~stays], joined[~stays][:, ~stays], rows[~stays]
    return kept


def _graph(i: Int32[np.ndarray, "p"], j: Int32[np.ndarray, "p"], n: int) -> Any:  # noqa: ANN401  scipy has no types
    """A graph of n rows as a sparse matrix, each edge both ways."""
    ends = (np.concatenate([i, j]), np.concatenate([j, i]))
    return coo_array((np.ones(2 * len(i), np.bool_), ends), shape=(n, n)).tocsr()
