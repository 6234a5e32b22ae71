"""What is said of near-duplicates that k-means has put into different clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ROWS = 2000
"""Rows that are searched for unless another number is asked for."""
SEED = 1
"""Not that of the sample on which centroids are trained: those rows lie a little nearer to their centroids."""
MANY = 0.01
"""Share of survivors with a surviving near-duplicate above which fewer clusters are advised."""


class Estimated(NamedTuple):
    """An estimate for all rows, and an interval that holds in about 95 % of samples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Missed:
    """Pairs above the threshold whose rows are in different clusters, estimated from a sample of rows.

    Attributes:
        threshold: of `dedup`
        clusters: how many there are
        rows: in all of them
        survivors: of these
        seed: of the sample
        sampled: rows that were searched for among all
        sampled_missed: of these, rows with such a pair
        sampled_survivors: survivors among the sampled
        sampled_surviving: of these, survivors with a survivor above the threshold in another cluster
        missed: share of all rows with such a pair
        missed_pairs: such pairs of all rows
        missed_of_pairs: share of such pairs in all pairs above the threshold; None if the sample is in no pair
        surviving: share of the survivors with a survivor above the threshold in another cluster: near-duplicates
            that are still there; None if no survivor was sampled
        surviving_pairs: pairs of such survivors; None likewise
    """

    threshold: float
    clusters: int
    rows: int
    survivors: int
    seed: int
    sampled: int
    sampled_missed: int
    sampled_survivors: int
    sampled_surviving: int
    missed: Estimated
    missed_pairs: Estimated
    missed_of_pairs: Estimated | None
    surviving: Estimated | None
    surviving_pairs: Estimated | None

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence."""
        if self.clusters == 1:
            return "There is one cluster, so no pair is missed."
        if self.surviving is None or self.surviving.low <= MANY < self.surviving.high:
            return "The sample is too small to say more; ask for more --rows."
        if self.surviving.high <= MANY:
            return f"Hardly any survivor is affected: {self.clusters:,} clusters are not too many."
        fewer = f"`coreset dedup --clusters {self.clusters // 2} --overwrite`"
        return f"{self.clusters:,} clusters keep near-duplicates apart; fewer find more of them, such as {fewer}."
