"""Connected components of the graph of near-duplicates: exact, in bounded memory, fast.

Every pair of rows must be told apart from an edge, but few pairs need looking at:

1. Exact copies are joined by their bytes and only one of them goes on (`copies`).
2. Rows are turned into small integers whose product rejects or accepts nearly every pair (`codes`, `products`).
3. Rows are settled group by group: compared with all rows still unsettled, then dropped. Before each group the
   unsettled rows are put in order, small components first, rows of one component together. Tiles whose rows are
   all in one component already are skipped, and the work ends when one component is left. So the denser the
   graph, the less there is to do: the first group is small, and joins whatever is dense.
4. The few pairs in between are decided by exact products (`pairs`), unless they are connected by then.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from coreset.numeric.blocks import RowBlocks, row_slices, rows_at, workers
from coreset.numeric.copies import copies
from coreset.numeric.products import fastest_engine
from coreset.numeric.survey import surveyed
from coreset.numeric.tiles import Graph, Rows
from coreset.numeric.union import merge, roots

_FIRST_GROUP = 64  # enough to join what is dense, few enough to cost nothing where nothing is
_TINY = 128  # rows for which one exact product is faster than a survey
_REORDER = 0.97  # unsettled rows are put in order again when this share of the components is left


def connected_components(
    vectors: RowBlocks, threshold: float, *, memory: int = 1 << 30, threads: int | None = None, device: str = "cpu"
) -> Int64[np.ndarray, "n"]:
    """The component of each row: the smallest row index that it is connected to.

    Two rows are joined by an edge where ``<x_i, x_j> > threshold``, strictly, for the stored float16 values. A
    row with no edge is a component of its own. The answer is a function of the vectors and the threshold alone.

    Args:
        vectors: float16 rows near unit length; zero rows are allowed and give an empty answer.
        threshold: a finite cosine; a pair exactly at it is not joined.
        memory: bytes that may be allocated beyond the vectors. With less than about one byte for each number
            of ``vectors`` codes are computed again for each group of rows, a few percent slower.
        threads: threads to use; None: as many as torch would use.
        device: a torch device for the integer products. Only ``cpu`` has ever been run.

    Raises:
        ValueError: if the threshold is not finite, or a row is not finite, not float16 or far too long.

    Source:
        Bunny (arXiv 2402.11530), pre-training data: edges above 0.86 inside a k-means cluster.

    Example:
        >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float16)
        >>> connected_components(x, 0.7)
        array([0, 0, 2])
    """
    if not np.isfinite(threshold):
        raise ValueError(f"threshold is {threshold}; it must be finite")
    n, d = vectors.shape
    parent = np.arange(n)
    if n == 0:
        return parent
    with workers(threads) as (pool, count):
        plan = _planned(n, d, memory, count)
        exact = fastest_engine(device).rounding == 0
        survey = surveyed(vectors, threshold, pool=pool, store=plan.store, centred=exact)
        graph = Graph(survey, threshold, fastest_engine(device, survey.longest), parent)
        unsettled = _settle_odd(graph, _join_copies(graph), pool)
        _settle_groups(graph, unsettled, plan, pool)
    return roots(parent, np.arange(n))


@dataclass(frozen=True)
class _Plan:
    """Sizes that follow from the memory: rows of a tile's side, rows of a group, whether codes are stored."""

    side: int
    group: int
    store: bool


def _planned(n: int, d: int, memory: int, threads: int) -> _Plan:
    """The largest sizes that fit.

    A row of the survey and of its order takes about 100 bytes. A thread holds a tile: its products (4 bytes),
    masks and lists of pairs (10), its rows in float16 and float64 and as codes (12 d a row of either side).
    """
    left = memory - 100 * n
    side = 1024 if n > 8192 else 512
    while side > 64 and threads * (14 * side**2 + 24 * side * d) > left // 2:
        side //= 2
    store = n * (d + 64) <= left // 2
    group = 4 * side if store else max(4 * side, min(32768, left // (8 * d)) // side * side)
    return _Plan(side, group, store)


def _join_copies(graph: Graph) -> Rows:
    """Joins exact copies, where ``<x, x>`` exceeds the threshold; the rows that are left to compare."""
    vectors = graph.survey.vectors
    later, first = copies(vectors, graph.survey.prints)
    for part in row_slices(len(later), 2048):
        x = rows_at(vectors, later[part]).double()
        edge = torch.linalg.vecdot(x, x).numpy() > graph.threshold
        merge(graph.parent, later[part][edge], first[part][edge])
    own: Rows = np.flatnonzero(graph.parent == np.arange(len(graph.parent)))
    return own


def _settle_odd(graph: Graph, unsettled: Rows, pool: ThreadPoolExecutor) -> Rows:
    """Compares rows without codes with all others, exactly; the rows that are left to compare."""
    odd = graph.survey.odd()[unsettled]
    if len(unsettled) <= _TINY:
        odd[:] = True
    tiles = [
        (unsettled[odd][rows], unsettled[columns])
        for rows in row_slices(int(odd.sum()), 64)
        for columns in row_slices(len(unsettled), 1024)
    ]
    list(pool.map(lambda tile: graph.settle_exactly(*tile), tiles))
    coded: Rows = unsettled[~odd]
    return coded


def _settle_groups(graph: Graph, unsettled: Rows, plan: _Plan, pool: ThreadPoolExecutor) -> None:
    """Compares all unsettled rows with each other, a group at a time."""
    spread = np.linspace(0, len(unsettled) - 1, min(_FIRST_GROUP, len(unsettled))).astype(np.int64)
    unsettled = np.concatenate([unsettled[spread], np.delete(unsettled, spread)])
    size, components = _FIRST_GROUP, np.inf
    while len(unsettled):
        _settle_group(graph, unsettled, size, plan, pool)
        unsettled, size = unsettled[size:], plan.group
        labels = roots(graph.parent, unsettled)
        left = len(np.unique(labels))
        if left <= 1:
            return
        if left <= _REORDER * components:
            sizes = np.bincount(labels)[labels]
            unsettled, components = unsettled[np.lexsort((unsettled, labels, sizes))], left


def _settle_group(graph: Graph, unsettled: Rows, size: int, plan: _Plan, pool: ThreadPoolExecutor) -> None:
    """Compares the first ``size`` unsettled rows with all of them."""
    blocks = [np.sort(unsettled[rows]) for rows in row_slices(min(size, len(unsettled)), plan.side)]
    lefts = [graph.survey.left(block) for block in blocks]
    every = range(len(blocks))

    def settle(task: tuple[slice, range]) -> None:
        columns = np.sort(unsettled[task[0]])
        right: torch.Tensor | None = None
        for block in task[1]:
            rows = blocks[block]
            if task[0].start < block * plan.side or graph.one(rows, columns):
                continue  # the other half of the symmetric product, or connected already
            right = graph.survey.right(columns) if right is None else right
            graph.settle(lefts[block], rows, right, columns)

    chunks = row_slices(len(unsettled), plan.side)
    each = [[range(b, b + 1) for b in every] if plan.store else [range(len(blocks))] for _ in chunks]
    list(pool.map(settle, [(chunk, part) for chunk, parts in zip(chunks, each, strict=True) for part in parts]))
