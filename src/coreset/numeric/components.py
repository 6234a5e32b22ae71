"""Connected components of the graph of near-duplicates, exact and in bounded memory."""

import numpy as np
import torch
from jaxtyping import Int64

from coreset.numeric.blocks import RowBlocks, block_tensor, pair_products, row_slices, squared_norms, torch_threads
from coreset.numeric.union import merge, roots

_PAIR_BYTES = 160  # of a tile's element at worst: its product, its mask, its place in two index lists and their copies


def connected_components(
    vectors: RowBlocks, threshold: float, *, memory: int = 1 << 30, threads: int | None = None, device: str = "cpu"
) -> Int64[np.ndarray, "n"]:
    """The component of each row: the smallest row index that it is connected to.

    Two rows are joined by an edge where ``<x_i, x_j> > threshold``, strictly, for the stored float16 values. A row with no edge is a
    component of its own. The answer is a function of the vectors and the threshold alone.

    Args:
        vectors: float16 rows near unit length; zero rows are allowed and give an empty answer.
        threshold: a finite cosine; a pair exactly at it is not joined.
        memory: bytes that may be allocated beyond the vectors.
        threads: torch threads; None leaves them as they are.
        device: a torch device for the matrix products. Only ``cpu`` has ever been run.

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
    with torch_threads(threads):
        norms = squared_norms(vectors, memory=memory)
        bound = _float32_bound(d, float(norms.max(initial=0.0)))
        parent = np.arange(n)
        blocks = row_slices(n, _block_rows(n, d, memory))
        for first, rows in enumerate(blocks):
            x = block_tensor(vectors, rows)
            for columns in blocks[first:]:
                y = block_tensor(vectors, columns)
                _merge_tile(parent, x, y, (rows.start, columns.start), threshold, bound, device)
        return roots(parent, np.arange(n))


def _block_rows(n: int, d: int, memory: int) -> int:
    """Rows of a block such that a tile and its two blocks fit the memory."""
    rows = 256
    while rows < min(n, 4096) and (2 * rows) ** 2 * _PAIR_BYTES + 2 * (2 * rows) * d * 6 <= memory // 2:
        rows *= 2
    return rows


def _float32_bound(d: int, largest: float) -> float:
    """Half the width of the band around the threshold that a float32 product cannot decide.

    A float32 sum of d exact products in any order is off by at most ``d u / (1 - d u) * sum |x_i y_i|`` with u = 2^-24, and the sum is
    at most ``|x| |y|``. Twice that allows for any rounding direction; 2^-40 covers products below the smallest normal number.
    """
    return 2 * (d + 2) * 2.0**-24 * largest * 1.01 + 2.0**-40


def _merge_tile(
    parent: Int64[np.ndarray, "n"],
    x: torch.Tensor,
    y: torch.Tensor,
    starts: tuple[int, int],
    threshold: float,
    bound: float,
    device: str,
) -> None:
    """Joins the rows of two blocks that share an edge; pairs already connected are not looked at."""
    left = roots(parent, np.arange(starts[0], starts[0] + len(x)))
    right = roots(parent, np.arange(starts[1], starts[1] + len(y)))
    products = x.to(device).float() @ y.to(device).float().T
    near = (products > threshold - bound).cpu()
    near &= torch.from_numpy(left)[:, None] != torch.from_numpy(right)[None, :]
    i, j = near.nonzero(as_tuple=True)
    sure = (products[i, j].cpu() > threshold + bound).numpy()
    a, b = i.numpy(), j.numpy()
    merge(parent, starts[0] + a[sure], starts[1] + b[sure])
    a, b = a[~sure], b[~sure]
    above = pair_products(x, y, a, b) > threshold
    merge(parent, starts[0] + a[above], starts[1] + b[above])
