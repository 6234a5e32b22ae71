"""What a sample of rows says of all rows: estimates with intervals that hold in 95 % of samples, or about that."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from scipy.special import betaincinv

_TAIL = 0.025
_NORMAL = 1.959963984540054  # of a normal distribution, a share of 0.025 lies above it


class Interval(NamedTuple):
    """An estimate, and the interval around it."""

    value: float
    low: float
    high: float


def share_interval(hits: int, drawn: int, total: int) -> Interval:
    """The share of all rows that is expected where `hits` of `drawn` random rows have something (Clopper, Pearson).

    It holds in at least 95 % of samples; where all rows were drawn it is the share itself.

    Example:
        >>> share_interval(0, 100, 10**6)
        Interval(value=0.0, low=0.0, high=0.036216693)
        >>> share_interval(3, 4, 4)
        Interval(value=0.75, low=0.75, high=0.75)
    """
    value = hits / drawn
    if drawn == total:
        return Interval(value, value, value)
    low = float(betaincinv(hits, drawn - hits + 1, _TAIL)) if hits else 0.0
    high = float(betaincinv(hits + 1, drawn - hits, 1 - _TAIL)) if hits < drawn else 1.0
    return Interval(value, round(low, 9), round(high, 9))


def pairs_interval(counts: Int64[np.ndarray, "m"], total: int) -> Interval:
    """How many pairs all rows make, where each of some random rows is in so many of them.

    The interval is that of a normal distribution, and wider where too few rows are in any pair for that: each row
    that is in a pair is in at least one. A few rows with very many pairs that the sample misses can still exceed it.

    Example:
        >>> pairs_interval(np.array([2, 2, 2]), 3)
        Interval(value=3.0, low=3.0, high=3.0)
    """
    drawn = len(counts)
    value = int(counts.sum()) * total / (2 * drawn)
    share = share_interval(int(np.count_nonzero(counts)), drawn, total)
    error = _error(counts.astype(np.float64), total) * total / 2
    low = max(value - error, share.low * total / 2)
    return Interval(value, min(low, value), max(value + error, share.high * total / 2, value))


def ratio_interval(part: Int64[np.ndarray, "m"], whole: Int64[np.ndarray, "m"], total: int) -> Interval | None:
    """The share of all pairs that are of one kind, where each of some random rows is in so many; None without pairs.

    Example:
        >>> ratio_interval(np.array([1, 0]), np.array([2, 2]), 2)
        Interval(value=0.25, low=0.25, high=0.25)
    """
    if not whole.any():
        return None
    value = float(part.sum() / whole.sum())
    error = _error(part - value * whole, total) / float(whole.mean())
    return Interval(value, max(0.0, value - error), min(1.0, value + error))


def _error(numbers: np.ndarray, total: int) -> float:
    """Half an interval around the mean of some numbers, drawn without replacement."""
    drawn = len(numbers)
    if drawn < 2 or drawn == total:
        return 0.0
    return _NORMAL * float(numbers.std(ddof=1)) * math.sqrt((1 - drawn / total) / drawn)
