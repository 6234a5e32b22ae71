"""The centroids that may be the nearest of a row: a screen of small integers, then exact distances.

With u = x - mean, w = c - mean (`codes`), up to a number that depends on x alone,

    -|x - c|^2 / 2  =  <u, w> + g(c),      g(c) = <c, mean> - |mean|^2 / 2 - |c|^2 / 2.

Call it f, in units of s^2. The integer ``T = <q, p> + 127 b(c)`` with ``b(c) = ceil((g(c) + h(c)) / (127 s^2))`` obeys

    f - h(x) / s^2  <=  T  <=  f + h(x) / s^2 + r(c),      r(c) = 254 + 2 h(c) / s^2.

So a centroid c is not the nearest if for some other c'  ``T(c) < T(c') - r(c') - 2 h(x) / s^2``. The few that remain
get exact distances.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from coreset.numeric.blocks import RowBlocks, row_slices, rows_at
from coreset.numeric.codes import LARGEST, Codes, Layout, Scale, coded_rows, fitted_scale, full_layout
from coreset.numeric.pairs import pair_products
from coreset.numeric.products import Engine, fastest_engine

_SIDE = 1024  # centroids of a tile
_LISTED = 1 << 18  # candidates of a block of rows; with more, the block is halved
_AT_ONCE = 4096  # pairs whose rows are held in float64
_SAMPLE = 1024

Pairs = tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"]]


def centroid_norms(centroids: Float32[np.ndarray, "k d"]) -> Float64[np.ndarray, "k"]:
    """The exact ``<c, c>`` of each centroid.

    Example:
        >>> centroid_norms(np.array([[2, 0.5]], np.float32))
        array([4.25])
    """
    norms = np.empty(len(centroids))
    for part in row_slices(len(centroids), 4096):
        exact = centroids[part].astype(np.float64)
        norms[part] = np.einsum("kd,kd->k", exact, exact)
    return norms


@dataclass(frozen=True)
class Screen:
    """Centroids as codes, ready to be compared with rows.

    ``codes`` and ``r`` are in the order of ``order``: r ascending, so that the largest r of a tile suits all of it.
    """

    centroids: torch.Tensor
    norms: Float64[np.ndarray, "k"]
    scale: Scale
    layout: Layout
    order: Int64[np.ndarray, "k"]
    codes: torch.Tensor
    r: Int64[np.ndarray, "k"]
    longest: float
    device: str

    def nearest(self, rows: torch.Tensor) -> tuple[Int64[np.ndarray, "b"], Float64[np.ndarray, "b"]]:
        """The nearest centroid of each float16 row, and the exact ``|c|^2 - 2 <x, c>`` of it."""
        found = self._candidates(rows)
        if found is None:
            halves = [self.nearest(rows[half]) for half in row_slices(len(rows), -(-len(rows) // 2))]
            return np.concatenate([a for a, _ in halves]), np.concatenate([b for _, b in halves])
        i, j = found
        products = [pair_products(rows, self.centroids, i[p], j[p]) for p in row_slices(len(i), _AT_ONCE)]
        scores = self.norms[j] - 2 * np.concatenate(products)
        best = np.lexsort((j, scores, i))
        best = best[np.flatnonzero(np.diff(i[best], prepend=-1))]
        return j[best], scores[best]

    def _candidates(self, rows: torch.Tensor) -> Pairs | None:
        """Pairs (row, centroid) that include the nearest of each row; None where they are too many to list."""
        codes, _ = coded_rows(rows, self.scale)
        engine = fastest_engine(self.device, max(self.longest, codes.length**2 + LARGEST**2 * self.layout.digits))
        left = self.layout.padded(codes)
        top = np.full(len(rows), -np.inf)
        listed: list[tuple[Int64[np.ndarray, "p"], Int64[np.ndarray, "p"], Float64[np.ndarray, "p"]]] = []
        for part in row_slices(len(self.codes), _SIDE):
            products = engine.products(left, self.codes[part])
            found = products.cpu().numpy()
            best = found.max(axis=1)
            top = np.maximum(top, best - self.r[part][-1] - 2 * engine.rounding * np.abs(best))
            near = found >= _least(top, codes, engine).astype(found.dtype)[:, None]  # one dtype: no wide copy
            i, j = np.divmod(np.flatnonzero(near), near.shape[1])
            listed.append((i, self.order[part][j], found[i, j].astype(np.float64)))
            if len(rows) > 1 and sum(len(pairs[0]) for pairs in listed) > _LISTED:
                return None
        i, j, score = (np.concatenate(column) for column in zip(*listed, strict=True))
        kept = score >= _least(top, codes, engine)[i]
        return i[kept], j[kept]


def _least(top: Float64[np.ndarray, "b"], codes: Codes, engine: Engine) -> Int64[np.ndarray, "b"]:
    """The smallest T that a candidate may have; ``top`` is a lower bound of the best, short of the row's own r."""
    least = np.floor(top - codes.r - 4 * engine.rounding * np.abs(top))
    fitting: Int64[np.ndarray, "b"] = np.maximum(least, -(2.0**31)).astype(np.int64)  # T is an int32
    return fitting


def fitted_screen(vectors: RowBlocks, centroids: Float32[np.ndarray, "k d"], *, device: str) -> Screen:
    """A screen for rows like these; the rows sampled decide how fast it is, never what it finds."""
    n, _ = vectors.shape
    sample = rows_at(vectors, np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)))
    exact = torch.from_numpy(np.require(centroids, requirements=["C", "W"]))
    scale = fitted_scale(torch.cat([sample.float(), exact[:: max(1, len(exact) // _SAMPLE)]]), 0.0)
    norms = centroid_norms(centroids)
    codes, _ = coded_rows(exact, scale)
    # Rounding the norm down keeps b an upper bound; it may be one too large, hence the 127 below.
    b = codes.b - np.floor(norms / (2 * LARGEST * scale.step**2)).astype(np.int64)
    layout = full_layout(b)
    right = layout.digits_only(Codes(codes.q, b, codes.r, codes.length))
    order = np.argsort(codes.r, kind="stable")
    ordered = right.index_select(0, torch.from_numpy(order))
    longest = codes.length**2 + LARGEST**2 * layout.digits
    return Screen(exact, norms, scale, layout, order, ordered, codes.r[order] + LARGEST, longest, device)
