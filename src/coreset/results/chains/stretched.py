"""What is said of components whose members are not alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StretchedComponent:
    """A component of two rows or more.

    Attributes:
        cluster: that it is in
        kept_key: of the row that stands for it
        size: rows
        kept_cosine: the smallest cosine of a member to that row, as stored
        farthest_key: of that member
        weakest: the smallest cosine on the maximum spanning tree: at this threshold the component falls apart. None
            for a component so large that it is read off `forest/` only, and there is none
        weakest_keys: of the two rows of that link; None likewise
    """

    cluster: int
    kept_key: str
    size: int
    kept_cosine: float
    farthest_key: str
    weakest: float | None
    weakest_keys: tuple[str, str] | None


@dataclass(frozen=True)
class Level:
    """Components that are stretched at least so far.

    Attributes:
        cosine: their smallest cosine of a member to the kept row is not above this
        components: how many
        rows: in them
    """

    cosine: float
    components: int
    rows: int


@dataclass(frozen=True)
class Chains:
    """How far the components of a run are stretched.

    Attributes:
        threshold: of `dedup`
        min_kept_cosine: of `dedup`; 0 for no bound
        components: of two rows or more
        rows: in them
        levels: from the threshold down
        farthest: the components with the smallest `kept_cosine`, smallest first
        largest: the largest components, largest first
    """

    threshold: float
    min_kept_cosine: float
    components: int
    rows: int
    levels: tuple[Level, ...]
    farthest: tuple[StretchedComponent, ...]
    largest: tuple[StretchedComponent, ...]
