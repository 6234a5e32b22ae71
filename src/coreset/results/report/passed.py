"""One pass over every row of a run, and all that the report counts, draws and shows of it.

However many rows pass by, what is held is bounded: counts in bins, sizes by cluster, the first few rows of some orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from coreset import rows
from coreset.results.fate import EXCLUDED, Decided, fated_tables
from coreset.results.report.extremes import First
from coreset.results.report.histograms import FINE, fine_counts
from coreset.sample import (
    CENTROID_HIGH,
    CENTROID_LOW,
    DUPLICATE,
    FATES,
    KEPT,
    NOT_SAMPLED,
)

GRID_ROWS = 12
"""Rows that are shown of each fate."""
KEPT_ROWS = 24
"""Rows that are shown of the kept."""
COMPONENTS = 6
"""Components that are shown of each kind."""
COLUMNS = (
    *("key", "caption", "url", "source", "source_row", "image_offset", "image_bytes", "key_hash"),
    *("text_cosine", "cluster", "centroid_cosine", "component_size", "kept", "kept_key", "kept_cosine"),
)
"""Columns of `dedup/` that are read."""
SCORES = (
    *("text, before dedup", "text, after dedup"),
    *("centroid, after dedup", "centroid, in the text window", "kept, of duplicates"),
)
_SALT = 0x7265706F7274
"""Mixed into the seed, so that rows are not shown in the order in which `sample` draws them."""


@dataclass(frozen=True)
class Clusters:
    """Rows of each cluster, by its number.

    Attributes:
        rows: before dedup
        unlike: after it
        chosen: in the coreset
    """

    rows: Int64[np.ndarray, "k"]
    unlike: Int64[np.ndarray, "k"]
    chosen: Int64[np.ndarray, "k"]


class Passed:
    """What is known after every row of a run has passed by.

    Attributes:
        fates: rows of each fate, the excluded too
        scores: fine counts by `SCORES`
        component_sizes: how many components have how many rows
        shown: the rows that are shown of each fate
        largest: the kept rows of the largest components
        chained: of components with the smallest cosine of a row to the kept one, these rows; the smallest first
        below: duplicates whose cosine to the kept row is not above the threshold
    """

    def __init__(self, by: Decided, threshold: float, seed: int) -> None:
        self.fates: Counter[str] = Counter()
        self.scores = {name: np.zeros(FINE, np.int64) for name in SCORES}
        self.component_sizes: Counter[int] = Counter()
        self.below = 0
        drawn = [("drawn", "ascending"), ("key_hash", "ascending"), ("key", "ascending")]
        self.shown = {fate: First(KEPT_ROWS if fate == FATES[KEPT] else GRID_ROWS, drawn) for fate in FATES}
        ties = drawn[1:]
        self.largest = First(COMPONENTS, [("component_size", "descending"), *ties])
        self.chained = First(COMPONENTS, [("kept_cosine", "ascending"), *ties], one_each="kept_key")
        self._threshold, self._seed = threshold, seed ^ _SALT
        self._clusters = np.zeros((3, 0), np.int64)
        for table in fated_tables(by, COLUMNS):
            self._add(table)

    def _add(self, table: pa.Table) -> None:
        fate = pc.index_in(table["fate"], pa.array([*FATES, EXCLUDED])).to_numpy()
        for number, count in enumerate(np.bincount(fate, minlength=len(FATES) + 1).tolist()):
            self.fates[[*FATES, EXCLUDED][number]] += count
        if not table.num_rows or fate[0] == len(FATES):
            return  # the excluded come in tables of their own, and are counted only: they must not be used
        kept = table["kept"].to_numpy()
        self._add_scores(table, fate, kept)
        self._add_clusters(table["cluster"].to_numpy(), kept, fate == KEPT)
        sizes, counts = np.unique(table["component_size"].to_numpy()[kept], return_counts=True)
        self.component_sizes.update(dict(zip(sizes.tolist(), counts.tolist(), strict=True)))
        self.largest.add(table.filter(pa.array(kept)))
        duplicates = table.filter(pa.array(~kept))
        far = duplicates.filter(pc.less_equal(pc.cast(duplicates["kept_cosine"], pa.float64()), self._threshold))
        self.below += far.num_rows
        self.chained.add(far)
        self._draw(table, fate)

    def _add_scores(self, table: pa.Table, fate: Int64[np.ndarray, "n"], kept: Bool[np.ndarray, "n"]) -> None:
        text = table["text_cosine"].to_numpy()
        has_text = table["text_cosine"].is_valid().to_numpy()
        centroid, to_kept = table["centroid_cosine"].to_numpy(), table["kept_cosine"].to_numpy()
        in_window = np.isin(fate, (KEPT, CENTROID_HIGH, CENTROID_LOW, NOT_SAMPLED))
        wanted = (text[has_text], text[has_text & kept], centroid[kept], centroid[in_window], to_kept[~kept])
        for name, scores in zip(SCORES, wanted, strict=True):
            self.scores[name] += fine_counts(scores)

    def _add_clusters(
        self, cluster: Int64[np.ndarray, "n"], kept: Bool[np.ndarray, "n"], chosen: Bool[np.ndarray, "n"]
    ) -> None:
        wider = max(self._clusters.shape[1], int(cluster.max()) + 1)
        found = np.zeros((3, wider), np.int64)
        found[:, : self._clusters.shape[1]] = self._clusters
        for line, wanted in enumerate((cluster, cluster[kept], cluster[chosen])):
            found[line] += np.bincount(wanted, minlength=wider)
        self._clusters = found

    def _draw(self, table: pa.Table, fate: Int64[np.ndarray, "n"]) -> None:
        """Consider rows for the random grids: of each fate those whose seeded hash is smallest."""
        hashes = rows.key_hashes(table["key"].to_pylist(), self._seed)
        seeded = table.append_column("drawn", pa.array(hashes))
        for number, name in enumerate(FATES):
            self.shown[name].add(seeded.filter(pa.array(fate == number)))

    @cached_property
    def clusters(self) -> Clusters:
        """Rows by cluster."""
        return Clusters(*self._clusters)

    @property
    def duplicates(self) -> int:
        """Rows that are not kept in their component."""
        return self.fates[FATES[DUPLICATE]]


def rows_shown(table: pa.Table | None) -> Iterator[dict[str, Any]]:
    """Rows as Python values, in order."""
    yield from [] if table is None else table.to_pylist()
