"""A forest while it grows: tiles of the graph give edges, and what it says already makes most edges useless."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64

from coreset.numeric.blocks import RowBlocks, rows_at
from coreset.numeric.bottlenecks import Edges, heaviest_forest, joined, line_of, smallest_between
from coreset.numeric.pairs import pair_products
from coreset.numeric.products import Engine
from coreset.numeric.survey import Survey
from coreset.numeric.tiles import Rows

_FEW = 256  # a tile where fewer pairs than one in so many pass the screen does not ask for their bottlenecks
_MANY = 8  # a tile where more than one pair in so many is left is decided by one exact product
_THINNED = 4  # a tile's edges are thinned to its own forest when they outnumber its rows by this
_HELD = 1 << 20  # edges that wait for the forest, at least
_LONG = 0.999999  # of a bottleneck: far more than the rounding of float64, far less than a step of T


@dataclass
class Growing:
    """A forest while it grows, shared by the threads that find its edges.

    Attributes:
        forest: of all edges merged so far
        waiting: edges found since
        place: each row's place in the line of `line_of`
        gaps: after each place in the line, the T that a pair across it must exceed to be of use
        found: edges found since the line was drawn
    """

    survey: Survey
    floor: float
    engine: Engine
    order: Int64[np.ndarray, "n"]
    side: int
    forest: Edges = field(default_factory=lambda: joined([]))
    waiting: list[Edges] = field(default_factory=list)
    place: Int64[np.ndarray, "n"] = field(default_factory=lambda: np.empty(0, np.int64))
    gaps: Int32[np.ndarray, "n"] = field(default_factory=lambda: np.empty(0, np.int32))
    found: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Draw the first line."""
        self.draw_line()

    def draw_line(self) -> None:
        """Bring what the forest says up to date."""
        self.merge()
        n = len(self.order)
        line, gaps = line_of(n, self.forest)
        self.place, self.found = np.empty(n, np.int64), 0
        self.place[line] = np.arange(n)
        steps = np.maximum(0, _LONG * (gaps - self.floor) / self.survey.scale.step**2 - 1)
        limits = self.survey.layout.limit + np.floor(steps * (1 - 2 * self.engine.rounding))
        self.gaps = limits.astype(np.int32)

    def merge(self) -> None:
        """Take what waits into the forest."""
        if self.waiting:
            self.forest = heaviest_forest(joined([self.forest, *self.waiting]), self.order)
            self.waiting = []

    def add(self, edges: Edges, rows: int) -> None:
        """Let the edges that a tile of so many rows and columns has found wait for the forest."""
        if len(edges) > _THINNED * rows:
            edges = heaviest_forest(edges, self.order)
        with self.lock:
            self.waiting.append(edges)
            self.found += len(edges)
            if sum(map(len, self.waiting)) > max(_HELD, len(self.order)):
                self.merge()

    def settle(self, left: torch.Tensor, rows: Rows, right: torch.Tensor, columns: Rows) -> None:
        """Finds the edges of use between two blocks of rows, given their codes; both in the order of the line."""
        products = self.engine.products(left, right)
        limit = self.survey.layout.limit
        if products.max().item() <= limit:
            return
        found = products.cpu().numpy()
        near: Bool[np.ndarray, "b c"] = found > limit
        if np.count_nonzero(near) > near.size // _FEW:
            near = found > smallest_between(self.gaps, self.place[rows], self.place[columns])
        if np.count_nonzero(near) > near.size // _MANY:
            self.settle_exactly(rows, columns, near)
            return
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        i, j = i[rows[i] != columns[j]], j[rows[i] != columns[j]]
        if len(i):
            (some, u), (others, v) = np.unique(i, return_inverse=True), np.unique(j, return_inverse=True)
            x, y = rows_in(self.survey.vectors, rows[some]), rows_in(self.survey.vectors, columns[others])
            self.add(self._above(rows[i], columns[j], pair_products(x, y, u, v)), sum(near.shape))

    def settle_exactly(self, rows: Rows, columns: Rows, near: Bool[np.ndarray, "b c"]) -> None:
        """Finds the edges of use among some pairs of two blocks, by float64 products of all."""
        x, y = rows_in(self.survey.vectors, rows), rows_in(self.survey.vectors, columns)
        exact = (x.double() @ y.double().T).numpy()
        near &= exact > self.floor
        near &= rows[:, None] != columns
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        self.add(self._above(rows[i], columns[j], exact[i, j]), sum(near.shape))

    def _above(self, i: Rows, j: Rows, cosine: Float64[np.ndarray, "p"]) -> Edges:
        return Edges(i, j, cosine)[cosine > self.floor]


def rows_in(vectors: RowBlocks, rows: Rows) -> torch.Tensor:
    """The rows in any order of theirs."""
    ascending = np.argsort(rows)
    place = np.empty(len(rows), np.int64)
    place[ascending] = np.arange(len(rows))
    return rows_at(vectors, rows[ascending])[torch.from_numpy(place)]


def codes_in(codes: Callable[[Rows], torch.Tensor], rows: Rows) -> torch.Tensor:
    """Codes of rows in any order of theirs."""
    ascending = np.argsort(rows)
    place = np.empty(len(rows), np.int64)
    place[ascending] = np.arange(len(rows))
    return codes(rows[ascending])[torch.from_numpy(place)]
