"""Where rows stand in the rank windows, counted by one pass over all rows: nothing is sorted.

Ranks count from 0 for the best: the largest score, ties by (key_hash, key). The last window is the sample: there the
score is the seeded hash of the key, and the smallest are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt64

from coreset import rows
from coreset.numeric.ranks import OrderKey, between, descending, score_of, window_counts
from coreset.results.fate import Decided, with_fate
from coreset.results.lookup import Place, rows_at
from coreset.sample import FATES, ORDER_COLUMNS, SMALLEST, SampleParams, order_tables

WINDOWS = TEXT, CENTROID, DRAW = "text rank", "centroid rank", "sample"
SCORES = {TEXT: "text_cosine", CENTROID: "centroid_cosine"}
ENTERED = {
    TEXT: [fate for fate in FATES if fate not in {"duplicate", "no caption"}],
    CENTROID: ["kept", "not sampled", "centroid rank too high", "centroid rank too low"],
    DRAW: ["kept", "not sampled"],
}
"""The fates of the rows that come to a window."""


@dataclass(frozen=True)
class Rank:
    """Where a row stands among the rows that came to a window.

    Attributes:
        window: `text rank`, `centroid rank` or `sample`
        rank: rows before it; 0 for the best
        of: rows that came to the window
        percent: the window's ends; None for the sample
        first: the first rank inside
        end: the first rank behind
        score: what is ranked; None for the sample, where it is the seeded hash of the key
        first_score: of the row at the first rank inside; None if no row is inside
        end_score: of the row at the first rank behind; None if there is none
        cluster: that ranks are counted in; None where they are counted over all
    """

    window: str
    rank: int
    of: int
    percent: tuple[float, float] | None
    first: int
    end: int
    score: float | None
    first_score: float | None
    end_score: float | None
    cluster: int | None

    @property
    def is_inside(self) -> bool:
        """Whether the row stays."""
        return self.first <= self.rank < self.end


@dataclass(frozen=True)
class Asked:
    """A row whose rank in a window is asked for.

    Attributes:
        window: its name
        place: of the row
        key: its place in the order of the window
    """

    window: str
    place: Place
    key: OrderKey


def standings(by: Decided, places: Sequence[Place]) -> list[tuple[Rank, ...]]:
    """The ranks of some rows of `dedup/`, each in the windows that it came to: none for a duplicate."""
    asked = [_asked(by, place) for place in places]
    every = [ask for asks in asked for ask in asks]
    in_clusters = [ask for ask in every if by.params.rank_scope == "cluster" and ask.window != DRAW]
    over_all = [ask for ask in every if ask not in in_clusters]
    found: dict[Asked, Rank] = {}
    if over_all:
        pieces = (table for location in by.dedup.locations() for table in order_tables(location, by.params))
        found = {ask: _rank(by, ask, before) for ask, before in _before(by, pieces, over_all).items()}
    for ask in in_clusters:
        whole = rows.read_table(ask.place.location, ORDER_COLUMNS, ask.place.start, ask.place.stop)
        found[ask] = _cluster_rank(by, ask, _before(by, [whole], [ask])[ask], whole)
    return [tuple(found[ask] for ask in asks) for asks in asked]


def _asked(by: Decided, place: Place) -> list[Asked]:
    """The windows that a row came to."""
    row = rows_at(by, place, np.array([place.row]), ORDER_COLUMNS)
    hashed, key = row["key_hash"][0].as_py(), row["key"][0].as_py().encode()
    windows = [window for window in WINDOWS if row["fate"][0].as_py() in ENTERED[window]]
    return [Asked(window, place, OrderKey(int(_order(by.params, row, window)[0]), hashed, key)) for window in windows]


def _order(params: SampleParams, table: pa.Table, window: str) -> UInt64[np.ndarray, "n"]:
    """What a window ranks by."""
    if window == DRAW:
        return rows.key_hashes(table["key"].to_pylist(), params.seed)
    return descending(table[SCORES[window]].to_numpy())


def _before(by: Decided, pieces: Iterable[pa.Table], asked: Sequence[Asked]) -> dict[Asked, int]:
    """How many rows of some pieces come before each of the rows that are asked for, in the window it is asked for."""
    counts = dict.fromkeys(asked, 0)
    for piece in pieces:
        fated = with_fate(by, piece)
        for window in {ask.window for ask in asked}:
            came = entered(fated, window)
            ranked = (_order(by.params, came, window), came["key_hash"].to_numpy(), rows.key_lookup(came["key"]))
            for ask in [ask for ask in asked if ask.window == window]:
                counts[ask] += int(np.count_nonzero(between(*ranked, SMALLEST, ask.key)))
    return counts


def entered(table: pa.Table, window: str) -> pa.Table:
    """The rows that came to a window, by their fates."""
    return table.filter(pc.is_in(table["fate"], pa.array(ENTERED[window])))


def _rank(by: Decided, ask: Asked, before: int) -> Rank:
    """The rank over all rows; counts and ends of the window stand in `coreset/`."""
    facts, params = by.coreset.facts, by.params
    if ask.window == DRAW:
        return Rank(DRAW, before, facts["in_both_windows"], None, 0, facts["sampled"], None, None, None, None)
    percent, cut, of = (
        (params.text_rank, by.cuts.text, facts["survivors"] - facts.get("without_caption", 0))
        if ask.window == TEXT
        else (params.centroid_rank, by.cuts.centroid, facts["in_text_window"])
    )
    ends = [None if key is None else score_of(key.order) for key in cut or (None, None)]
    score = score_of(ask.key.order)
    return Rank(ask.window, before, of, percent, *window_counts(percent, of), score, ends[0], ends[1], None)


def _cluster_rank(by: Decided, ask: Asked, before: int, whole: pa.Table) -> Rank:
    """The rank within a cluster, from all rows of it."""
    percent = by.params.text_rank if ask.window == TEXT else by.params.centroid_rank
    came = entered(with_fate(by, whole), ask.window)
    orders = np.sort(_order(by.params, came, ask.window))
    low, high = window_counts(percent, len(orders))
    first = score_of(int(orders[low])) if low < high else None
    end = score_of(int(orders[high])) if high < len(orders) else None
    score, cluster = score_of(ask.key.order), ask.place.cluster
    return Rank(ask.window, before, len(orders), percent, low, high, score, first, end, cluster)
