"""Sets of rows that are hard for a graph of near-duplicates."""

import numpy as np
from hypothesis import strategies as st
from jaxtyping import Float16

THRESHOLDS = (0.5, 0.75, 0.86, 0.9990234375)


def unit_rows(rng: np.random.Generator, n: int, d: int) -> Float16[np.ndarray, "n d"]:
    """Random unit rows."""
    x = rng.normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


def chain(n: int) -> Float16[np.ndarray, "n d"]:
    """Rows of which each shares an edge with the next one only, for thresholds below 0.49."""
    rows = np.zeros((n, n + 1), np.float16)
    rows[np.arange(n), np.arange(n)] = rows[np.arange(n), np.arange(n) + 1] = 0.5**0.5
    return rows


@st.composite
def hard_rows(draw: st.DrawFn, max_rows: int = 60) -> Float16[np.ndarray, "n d"]:
    """Rows with few distinct cosines (many ties at the thresholds), exact copies, groups, and zeros of both signs."""
    d = draw(st.sampled_from([1, 2, 3, 4, 8, 17]))
    n = draw(st.integers(0, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["random", "grid", "group", "identical"]))
    if kind == "grid":  # components 0, +-1/2, +-1/4 …: products are exactly 0.5 or 0.75 very often
        x = rng.choice([0.0, -0.0, 0.5, -0.5, 0.25, 0.75], size=(n, d)).astype(np.float16)
        return x[(np.square(x.astype(np.float64)).sum(axis=1) <= 1.25)]
    base = unit_rows(rng, max(1, n // 6), d)
    x = base[rng.integers(0, len(base) if kind != "identical" else 1, n)]
    if kind in {"random", "group"}:
        spread = 1.0 if kind == "random" else 0.3
        y = x + rng.normal(size=(n, d)) * spread * rng.integers(0, 2, (n, 1))
        length = np.linalg.norm(y, axis=1, keepdims=True)
        x = (y / np.where(length > 0, length, 1)).astype(np.float16)
    return x
