"""A tile of the graph: the rows of two blocks that share an edge are joined."""

import threading
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Int64

from coreset.numeric.blocks import rows_at
from coreset.numeric.pairs import pair_products
from coreset.numeric.products import Engine
from coreset.numeric.survey import Survey
from coreset.numeric.union import merge, roots

_DENSE = 32  # a tile with more than one pair in 32 is thinned before its pairs are listed
_LISTED = 1 << 16  # pairs decided at once; what they join is not looked at again

Rows = Int64[np.ndarray, "_"]  # a signature may hold several, of different lengths


@dataclass(frozen=True)
class Graph:
    """The components found so far, shared by the threads that find more; ``parent`` is a forest (`union`)."""

    survey: Survey
    threshold: float
    engine: Engine
    parent: Int64[np.ndarray, "n"]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def labels(self, rows: Rows) -> Rows:
        """The component of each row, as far as known."""
        with self.lock:
            return roots(self.parent, rows)

    def join(self, rows: Rows, columns: Rows) -> None:
        """Joins the components of each pair of rows."""
        if len(rows):
            with self.lock:
                merge(self.parent, rows, columns)

    def one(self, rows: Rows, columns: Rows) -> bool:
        """Whether all these rows are known to be in one component."""
        labels = self.labels(np.concatenate([rows, columns]))
        return bool((labels == labels[0]).all())

    def apart(self, rows: Rows, columns: Rows) -> Bool[np.ndarray, "b c"]:
        """Which pairs are not known to be connected."""
        differ: Bool[np.ndarray, "b c"] = self.labels(rows)[:, None] != self.labels(columns)[None, :]
        return differ

    def settle(self, left: torch.Tensor, rows: Rows, right: torch.Tensor, columns: Rows) -> None:
        """Joins the rows of two blocks that share an edge, given their codes."""
        limit = self.survey.layout.limit
        products = self.engine.products(left, right)
        if products.max().item() <= limit:
            return
        found = products.cpu().numpy()
        r = self.survey.r
        near = self._thinned(found, int(r[rows].max() + r[columns].max()), rows, columns)
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        above = found[i, j] - float(limit)
        above -= self.engine.rounding * 2 * np.abs(above)
        sure = above > r[rows][i] + r[columns][j]
        self.join(rows[i[sure]], columns[j[sure]])
        self._decide(rows, columns, i[~sure], j[~sure])

    def settle_exactly(self, rows: Rows, columns: Rows) -> None:
        """Joins the rows of two blocks that share an edge, by float64 products of all pairs."""
        x, y = rows_at(self.survey.vectors, rows), rows_at(self.survey.vectors, columns)
        near = (x.double() @ y.double().T).numpy() > self.threshold
        near &= self.apart(rows, columns)
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        self.join(rows[i], columns[j])

    def _thinned(self, products: np.ndarray, margin: int, rows: Rows, columns: Rows) -> Bool[np.ndarray, "b c"]:
        """The pairs that may share an edge.

        Where they are many, one sure edge of each row and each column is joined, and connected pairs are left out.
        """
        near = products > self.survey.layout.limit
        while np.count_nonzero(near) > near.size // _DENSE:
            near &= self.apart(rows, columns)
            if np.count_nonzero(near) <= near.size // _DENSE:
                break
            sure = near & (products > (self.survey.layout.limit + margin) * (1 + 2 * self.engine.rounding))
            i, j = np.flatnonzero(sure.any(axis=1)), np.flatnonzero(sure.any(axis=0))
            if not len(i):
                break
            self.join(rows[i], columns[sure[i].argmax(axis=1)])
            self.join(rows[sure[:, j].argmax(axis=0)], columns[j])
        return near

    def _decide(self, rows: Rows, columns: Rows, i: Rows, j: Rows) -> None:
        """Joins those of the pairs (rows[i], columns[j]) whose exact product is above the threshold."""
        for start in range(0, len(i), _LISTED):
            u, v = i[start : start + _LISTED], j[start : start + _LISTED]
            apart = self.labels(rows[u]) != self.labels(columns[v])
            u, v = u[apart], v[apart]
            if len(u):
                left, right = np.unique(u, return_inverse=True), np.unique(v, return_inverse=True)
                x = rows_at(self.survey.vectors, rows[left[0]])
                y = rows_at(self.survey.vectors, columns[right[0]])
                above = pair_products(x, y, left[1], right[1]) > self.threshold
                self.join(rows[u[above]], columns[v[above]])
