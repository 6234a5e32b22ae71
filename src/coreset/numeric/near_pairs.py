"""All pairs of rows above a bound, where they are few enough to be held."""

import threading
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64

from coreset.numeric.blocks import RowBlocks, row_slices, workers
from coreset.numeric.growing import codes_in, rows_in
from coreset.numeric.pairs import pair_products
from coreset.numeric.products import Engine, fastest_engine
from coreset.numeric.survey import Survey, surveyed
from coreset.numeric.tiles import Rows

_MANY = 8  # a tile where more than one pair in so many passes the screen is decided by one exact product
_LISTED = 1 << 16  # pairs decided at once
_TINY = 512  # rows for which one exact product is faster than a survey


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows whose cosine is above a bound, each pair once, in no order.

    Attributes:
        i: one row
        j: the other
        joined: whether the cosine is above the threshold, too
    """

    i: Int32[np.ndarray, "p"]
    j: Int32[np.ndarray, "p"]
    joined: Bool[np.ndarray, "p"]

    def __len__(self) -> int:
        return len(self.i)


def near_pairs(
    vectors: RowBlocks,
    groups: Int64[np.ndarray, "n"],
    bound: float,
    threshold: float,
    most: int,
    *,
    memory: int = 1 << 30,
    threads: int | None = None,
    device: str = "cpu",
) -> NearPairs | None:
    """The pairs of rows of one group with ``<x_i, x_j> > bound``, strictly; None where there are more than ``most``.

    Args:
        vectors: float16 rows near unit length.
        groups: a number for each row; pairs of different groups are not looked at.
        bound: a finite cosine.
        threshold: another one, not below it.
        most: pairs that may be held; a few more are while they are counted.
        memory: bytes that may be allocated beyond the vectors and the pairs.
        threads: threads to use; None: as many as torch would use.
        device: a torch device for the integer products. Only ``cpu`` has ever been run.

    Example:
        >>> x = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float16)
        >>> found = near_pairs(x, np.zeros(3, np.int64), 0.5, 0.7, 9)
        >>> found.i.tolist(), found.j.tolist(), found.joined.tolist()
        ([0, 1], [1, 2], [True, False])
    """
    n, d = vectors.shape
    line = np.argsort(groups, kind="stable")
    with workers(threads) as (pool, count):
        side = 1024 if n > 8192 else 512
        while side > 64 and count * (32 * side**2 + 24 * side * d) > memory // 4:
            side //= 2
        survey = None
        if n > _TINY:
            stored, centred = n * (d + 64) <= memory // 4, fastest_engine(device).rounding == 0
            survey = surveyed(vectors, bound, pool=pool, store=stored, centred=centred)
        engine = fastest_engine(device, survey.longest if survey else 0.0)
        found = _Finding(vectors, survey, engine, groups, bound, threshold, most)
        blocks = [line[part] for part in row_slices(n, side)]
        for number, rows in enumerate(blocks):
            left = codes_in(survey.left, rows) if survey else None
            tiles = [(rows, left, some) for some in blocks[number:] if groups[some[0]] <= groups[rows[-1]]]
            list(pool.map(found.settle, tiles))
            if found.count > most:
                return None
    return found.pairs()


@dataclass
class _Finding:
    """Pairs as they are found, shared by the threads that find more."""

    vectors: RowBlocks
    survey: Survey | None
    engine: Engine
    groups: Int64[np.ndarray, "n"]
    bound: float
    threshold: float
    most: int
    held: list[NearPairs] = field(default_factory=list)
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, tile: tuple[Rows, torch.Tensor | None, Rows]) -> None:
        """Finds the pairs of two blocks of rows, given the first one's codes; of a block with itself each once."""
        if self.count > self.most:
            return
        rows, left, columns = tile
        near = self.groups[rows][:, None] == self.groups[columns]
        if self.survey is not None and left is not None:
            near &= self._screened(self.survey, rows, left, columns)
        if rows is columns:
            near = np.triu(near, 1)
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        if len(i):
            self._add(rows[i], columns[j], self._exact(rows, columns, i, j, dense=len(i) > near.size // _MANY))

    def pairs(self) -> NearPairs:
        """All that were found."""
        none = NearPairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.bool_))
        every = [none, *self.held]
        return NearPairs(
            np.concatenate([pairs.i for pairs in every]),
            np.concatenate([pairs.j for pairs in every]),
            np.concatenate([pairs.joined for pairs in every]),
        )

    def _screened(self, survey: Survey, rows: Rows, left: torch.Tensor, columns: Rows) -> Bool[np.ndarray, "b c"]:
        """Which pairs may be above the bound; all pairs of a row without codes."""
        products = self.engine.products(left, codes_in(survey.right, columns))
        near: Bool[np.ndarray, "b c"] = products.cpu().numpy() > survey.layout.limit
        near[~survey.layout.holds(survey.b[rows])] = True
        near[:, ~survey.layout.holds(survey.b[columns])] = True
        return near

    def _exact(self, rows: Rows, columns: Rows, i: Rows, j: Rows, *, dense: bool) -> Float64[np.ndarray, "p"]:
        """The exact products of some pairs of two blocks."""
        (some, u), (others, v) = np.unique(i, return_inverse=True), np.unique(j, return_inverse=True)
        x, y = rows_in(self.vectors, rows[some]), rows_in(self.vectors, columns[others])
        if dense:
            whole: Float64[np.ndarray, "b c"] = torch.mm(x.double(), y.double().T).numpy()
            return whole[u, v]
        return np.concatenate([pair_products(x, y, u[p], v[p]) for p in row_slices(len(u), _LISTED)])

    def _add(self, i: Rows, j: Rows, cosine: Float64[np.ndarray, "p"]) -> None:
        above = cosine > self.bound
        pairs = NearPairs(i[above].astype(np.int32), j[above].astype(np.int32), cosine[above] > self.threshold)
        with self.lock:
            self.held.append(pairs)
            self.count += len(pairs)
