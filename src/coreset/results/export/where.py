"""Which rows are meant by `--where`: fates, or steps of the funnel, which stand for several."""

from __future__ import annotations

from collections.abc import Sequence

from coreset.engine.errors import UsageError
from coreset.sample import FATES

STEPS: dict[str, tuple[str, ...]] = {
    "embedded": FATES,
    "unlike": tuple(fate for fate in FATES if fate != "duplicate"),
    "text rank": ("kept", "centroid rank too high", "centroid rank too low", "not sampled"),
    "centroid rank": ("kept", "not sampled"),
    "coreset": ("kept",),
}
"""Steps of the funnel, and the fates of the rows that came so far; not those that a list excludes."""


def fates_of(where: Sequence[str]) -> tuple[str, ...]:
    """The fates that some words of `--where` stand for, in the order of `FATES`.

    Args:
        where: fates and steps of the funnel, each perhaps several with commas between

    Raises:
        UsageError: One is neither, or there is none.

    Example:
        >>> fates_of(["centroid rank"]), fates_of(["duplicate,kept"])
        (('kept', 'not sampled'), ('kept', 'duplicate'))
    """
    words = [word.strip() for text in where for word in text.split(",")]
    for word in words:
        if word not in FATES and word not in STEPS:
            raise UsageError(
                f"--where {word!r} is no fate and no step; fates: {', '.join(FATES)}; steps: {', '.join(STEPS)}."
            )
    meant = {fate for word in words for fate in STEPS.get(word, (word,))}
    return tuple(fate for fate in FATES if fate in meant)
