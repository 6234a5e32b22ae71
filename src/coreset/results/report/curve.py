"""What other thresholds would keep: exactly, from the forest, or of some clusters that are compared now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coreset import rows
from coreset.engine.files import join
from coreset.engine.local import in_process
from coreset.engine.stage import Parts, open_parts
from coreset.forest import ForestParams, kept_above
from coreset.results.beside import clusters_behind
from coreset.results.fate import Decided
from coreset.slices import slices_of

HIGHEST, STEP = 0.98, 0.01
SAMPLE_ROWS = 1 << 16
"""Clusters are drawn until they have so many rows."""
LARGEST = 1 << 15
"""Rows of the largest cluster that is drawn."""


@dataclass(frozen=True)
class Curve:
    """The share of rows that each threshold keeps.

    Attributes:
        source: `forest` or `sample`: where the counts are from
        thresholds: rising
        kept: rows that each of them keeps
        rows: that the counts are of
        clusters: that the counts are of
        of_clusters: that the run has
    """

    source: str
    thresholds: tuple[float, ...]
    kept: tuple[int, ...]
    rows: int
    clusters: int
    of_clusters: int


def curve(by: Decided, seed: int) -> Curve:
    """The curve of a run: from `forest/` if it is there and current, else from a seeded sample of clusters."""
    clusters, forest = clusters_behind(by.run, by.dedup), open_parts(join(by.run, "forest"))
    if forest is None or forest.source != clusters.hash or not thresholds_above(float(forest.facts["floor"])):
        return sampled_curve(clusters, thresholds_above(ForestParams().floor), seed)
    thresholds = thresholds_above(float(forest.facts["floor"]))
    count = int(np.count_nonzero(cluster_sizes(clusters)))
    return Curve(
        "forest", thresholds, tuple(kept_above(forest, thresholds, in_process)), forest.counts["rows"], count, count
    )


def thresholds_above(floor: float) -> tuple[float, ...]:
    """The thresholds of the curve that a forest with this floor can answer.

    Example:
        >>> thresholds_above(0.955)
        (0.96, 0.97, 0.98)
    """
    every = [round(number * STEP, 2) for number in range(80, round(HIGHEST / STEP) + 1)]
    return tuple(threshold for threshold in every if threshold >= floor)


def cluster_sizes(clusters: Parts) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of each cluster, over all parts."""
    return np.diff(sum(np.asarray(rows.open_array(where)) for where in clusters.locations(rows.OFFSETS)))


def sampled_curve(clusters: Parts, thresholds: tuple[float, ...], seed: int) -> Curve:
    """The curve of some clusters, drawn at random, all of whose rows are compared now."""
    from coreset.numeric.forest import spanning_forest

    sizes = cluster_sizes(clusters)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero((sizes > 0) & (sizes <= LARGEST)))
    drawn = drawn[: int(np.searchsorted(np.cumsum(sizes[drawn]), SAMPLE_ROWS)) + 1]
    edges = np.zeros(len(thresholds), np.int64)
    for cluster in drawn.tolist():
        vectors = cluster_vectors(clusters, cluster)
        forest = spanning_forest(vectors, min(thresholds), np.arange(vectors.shape[0]))
        edges += np.searchsorted(-forest.cosine, -np.array(thresholds))
    total = int(sizes[drawn].sum())
    kept = tuple(total - int(above) for above in edges)
    return Curve("sample", thresholds, kept, total, len(drawn), int(np.count_nonzero(sizes)))


def cluster_vectors(clusters: Parts, cluster: int) -> rows.VectorSlices:
    """The vectors of one cluster, part after part."""
    pieces = slices_of(clusters.folder, clusters.names, (cluster, cluster + 1))
    found = rows.held_ranges([(piece.part, piece.start, piece.stop) for piece in pieces])
    opened = [(x, piece.start - first, piece.stop - first) for (x, first), piece in zip(found, pieces, strict=True)]
    return rows.VectorSlices(opened, opened[0][0].shape[1])
