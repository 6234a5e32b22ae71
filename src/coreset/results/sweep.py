"""How many rows each threshold keeps, exactly."""

from __future__ import annotations

from dataclasses import dataclass

from coreset.forest import kept_above, thresholds_from
from coreset.pipeline import Run, forested, standing

STEP = 0.01


@dataclass(frozen=True)
class Sweep:
    """What some thresholds keep.

    Attributes:
        thresholds: rising, the first is the floor of `forest/`
        kept: rows that `dedup` keeps at each
        rows: in all
    """

    thresholds: tuple[float, ...]
    kept: tuple[int, ...]
    rows: int


def sweep(run: Run, floor: float | None = None, step: float = STEP) -> Sweep:
    """How many rows of a clustered run each threshold keeps; makes `forest/` if it is not there.

    Args:
        run: where and how; held for writing by nobody else
        floor: the lowest threshold; None for that of the forest that is there, else 0.8
        step: between two thresholds

    Raises:
        InputError: The run has no complete `clusters/`.
        UsageError: The floor is not between 0 and 1.
    """
    forest = forested(run, standing(run, "clusters"), floor)
    thresholds = thresholds_from(float(forest.facts["floor"]), step)
    kept = kept_above(forest, thresholds, run.execute)
    return Sweep(tuple(thresholds), tuple(kept), forest.counts["rows"])
