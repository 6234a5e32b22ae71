"""One reading of all rows: their codes, their fingerprints, and the check that they are near unit length."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt64

from coreset.numeric.blocks import RowBlocks, block_tensor, checked_norms, row_slices, rows_at
from coreset.numeric.codes import LARGEST, Codes, Layout, Scale, coded_rows, fitted_layout, fitted_scale
from coreset.numeric.copies import fingerprints

_SAMPLE = 1024
_READ_ROWS = 512


@dataclass(frozen=True)
class Survey:
    """What one reading of the rows leaves behind; ``stored`` are the codes, where memory allows it.

    No row's codes have a squared length above ``longest``.
    """

    vectors: RowBlocks
    scale: Scale
    layout: Layout
    b: Int64[np.ndarray, "n"]
    r: Int64[np.ndarray, "n"]
    prints: UInt64[np.ndarray, "n"]
    longest: float
    stored: torch.Tensor | None

    def right(self, rows: Int64[np.ndarray, "b"]) -> torch.Tensor:
        """Codes of rows (ascending indices) for the right side of a product."""
        if self.stored is None:
            return self.layout.right(coded_rows(rows_at(self.vectors, rows), self.scale)[0])
        if rows[-1] - rows[0] + 1 == len(rows):
            return self.stored[rows[0] : rows[-1] + 1]
        return self.stored.index_select(0, torch.from_numpy(rows))

    def left(self, rows: Int64[np.ndarray, "b"]) -> torch.Tensor:
        """Codes of rows (ascending indices) for the left side of a product."""
        return self.layout.swapped(self.right(rows))

    def odd(self) -> Bool[np.ndarray, "n"]:
        """Rows that have no codes."""
        return ~self.layout.holds(self.b)


def surveyed(vectors: RowBlocks, threshold: float, *, pool: ThreadPoolExecutor, store: bool, centred: bool) -> Survey:
    """The survey of at least one row.

    Raises:
        ValueError: if a row is not float16, not finite or far too long.
    """
    n, _ = vectors.shape
    sample = rows_at(vectors, np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)))
    scale = fitted_scale(sample, threshold)
    b, r, prints = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.uint64)

    def read(rows: slice) -> tuple[torch.Tensor | None, float]:
        block = block_tensor(vectors, rows)
        codes, norms = coded_rows(block, scale)
        checked_norms(norms, rows.start)
        b[rows], r[rows], prints[rows] = codes.b, codes.r, fingerprints(block.numpy())
        return codes.q if store else None, codes.length

    blocks = row_slices(n, _READ_ROWS)
    integers, lengths = map(list, zip(*pool.map(read, blocks), strict=True))
    layout = fitted_layout(b, centred=centred)
    longest = max(lengths) ** 2 + 2 * layout.digits * LARGEST**2
    stored = None
    if store:
        stored = torch.empty((n, vectors.shape[1] + 2 * layout.digits), dtype=torch.int8)
        for rows in reversed(blocks):  # each block's integers are freed as soon as they are copied
            stored[rows] = layout.right(Codes(integers.pop(), b[rows], r[rows], 0.0))
    return Survey(vectors, scale, layout, b, r, prints, longest, stored)
