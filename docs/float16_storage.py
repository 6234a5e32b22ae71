"""How far storing vectors as float16 moves a cosine of 0.86: the figure that docs/algorithm.md states.

Pairs of random unit vectors at a cosine of exactly 0.86 are rounded to float16; the exact cosine of what is
stored is compared with 0.86. Run: `python docs/float16_storage.py`
"""

from __future__ import annotations

import sys

import numpy as np

PAIRS = 20_000
COSINE = 0.86


def moved(pairs: int, dimension: int, cosine: float, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By how much float16 storage moves the cosine of each of some random pairs of unit vectors."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((pairs, dimension))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = random.standard_normal((pairs, dimension))
    y -= np.einsum("nd,nd->n", x, y)[:, None] * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    y = cosine * x + np.sqrt(1 - cosine**2) * y
    stored_x, stored_y = x.astype(np.float16).astype(np.float64), y.astype(np.float16).astype(np.float64)
    difference: np.ndarray[tuple[int], np.dtype[np.float64]] = np.einsum("nd,nd->n", stored_x, stored_y) - cosine
    return difference


def main() -> None:
    """Print the root mean square and the largest change for several dimensions."""
    sys.stdout.write("dimension  root mean square  largest\n")
    for dimension in (192, 512, 768, 1024):
        difference = moved(PAIRS, dimension, COSINE)
        rms, largest = np.sqrt(np.mean(difference**2)), np.abs(difference).max()
        sys.stdout.write(f"{dimension:9}  {rms:16.1e}  {largest:7.1e}\n")


if __name__ == "__main__":
    main()
