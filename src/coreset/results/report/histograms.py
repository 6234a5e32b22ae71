"""Histograms that merge by addition, and how they are shown: few bins of a round width over what is populated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

FINE = 4000
"""Bins between -1 and 1 that are counted; what lies outside counts in the first or the last."""
MOST = 60
"""Bins that are shown."""
TAIL = 0.01
"""The share of the scores at each end that may lie beyond the bins: a few odd ones squeeze no plot."""
_FACTORS = (1, 2, 4, 10, 20, 40, 100, 200, 400)


@dataclass(frozen=True)
class Histogram:
    """Counts of scores in bins of one width, by what is counted.

    Attributes:
        low: where the first bin begins
        width: of each bin
        counts: in each bin
        below: what lies below the first bin
        above: what lies above the last bin
    """

    low: float
    width: float
    counts: dict[str, list[int]]
    below: dict[str, int]
    above: dict[str, int]

    def total(self, name: str) -> int:
        """How many scores were counted, wherever they lie."""
        return self.below[name] + sum(self.counts[name]) + self.above[name]

    @property
    def edges(self) -> list[float]:
        """Where each bin begins, and where the last one ends."""
        bins = max((len(counts) for counts in self.counts.values()), default=0)
        return [round(self.low + self.width * number, 6) for number in range(bins + 1)]


def fine_counts(scores: Float[np.ndarray, "n"]) -> Int64[np.ndarray, "bins"]:
    """How many scores lie in each fine bin.

    Example:
        >>> counts = fine_counts(np.float32([-1.5, 0.0, 0.0]))
        >>> int(counts[0]), int(counts[2000]), len(counts)
        (1, 2, 4000)
    """
    place = np.floor((scores.astype(np.float64) + 1) * (FINE / 2)).astype(np.int64)
    return np.bincount(np.clip(place, 0, FINE - 1), minlength=FINE).astype(np.int64)


def histogram(fine: dict[str, Int64[np.ndarray, "bins"]]) -> Histogram:
    """Fine counts, taken together to at most `MOST` bins over those that hold something.

    Example:
        >>> found = histogram({"all": fine_counts(np.float32([0.1001, 0.1002, 0.3]))})
        >>> found.low, found.width, sum(found.counts["all"]), found.below, found.above
        (0.1, 0.005, 3, {'all': 0}, {'all': 0})
    """
    every = sum(fine.values(), np.zeros(FINE, np.int64))
    total = int(every.sum())
    if not total:
        none = dict.fromkeys(fine, 0)
        return Histogram(0.0, 2 / FINE, {name: [] for name in fine}, none, none)
    ends = np.searchsorted(np.cumsum(every), [int(TAIL * total) + 1, total - int(TAIL * total)])
    for factor in _FACTORS:
        first, last = int(ends[0]) // factor, int(ends[1]) // factor
        if last - first < MOST:
            break
    begin, end = first * factor, (last + 1) * factor
    return Histogram(
        round(begin * 2 / FINE - 1, 6),
        round(factor * 2 / FINE, 6),
        {name: one[begin:end].reshape(-1, factor).sum(1).tolist() for name, one in fine.items()},
        {name: int(one[:begin].sum()) for name, one in fine.items()},
        {name: int(one[end:].sum()) for name, one in fine.items()},
    )
