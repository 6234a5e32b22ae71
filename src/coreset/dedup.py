"""Stage 3: clusters -> dedup/. In each cluster the near-duplicates are joined, and one of each component is kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int32, Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import UsageError
from coreset.engine.files import Location
from coreset.engine.names import part_number
from coreset.engine.progress import ticker
from coreset.engine.stage import LATER, PARQUET, Needs, Part, Parts, Stage, Summary, Task
from coreset.numeric.ranks import rows_in_order
from coreset.slices import Slice, cluster_ranges, clusters_of, keys_in_order, places, slices_of

BATCH_ROWS = 1 << 18
"""So many rows of the table are held at a time, however large the cluster."""
HELD_BYTES = 80
"""Of a row while its components are found, besides its key: hash, order, place, component."""
Keep = Literal["median", "nearest", "farthest", "random"]
KEEP = ("median", "nearest", "farthest", "random")


@dataclass(frozen=True)
class DedupParams:
    """Parameters of `dedup`; the defaults are the paper's."""

    stage: ClassVar[str] = "dedup"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"rule", "source", "threshold", "keep", "seed", "min_kept_cosine"})

    threshold: float = field(default=0.86, metadata={"help": "two rows whose cosine is above this are joined"})
    keep: Keep = field(
        default="median",
        metadata={"help": "the row of a component that stays, by distance to the centroid: " + ", ".join(KEEP)},
    )
    seed: int = field(default=0, metadata={"help": "of keep = random"})
    min_kept_cosine: float = field(
        default=0.0,
        metadata={
            "help": "rows whose cosine to the kept row is not above this leave, and are grouped anew; 0: none do",
            LATER: True,
        },
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not 0 < self.threshold <= 1:
            meant = f"; did you mean {self.threshold / 100:g}?" if 1 < self.threshold <= 100 else "."
            raise UsageError(f"--threshold {self.threshold:g} must be above 0 and at most 1{meant}")
        if self.keep not in KEEP:
            raise UsageError(f"--keep {self.keep} is not known; use {', '.join(KEEP)}.")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed {self.seed} must be at least 0 and below 2^64.")
        if not 0 <= self.min_kept_cosine <= self.threshold:
            meant = f"; did you mean {self.min_kept_cosine / 100:g}?" if 1 < self.min_kept_cosine <= 100 else "."
            most = f"at most the threshold, {self.threshold:g}"
            raise UsageError(f"--min-kept-cosine {self.min_kept_cosine:g} must be at least 0 and {most}{meant}")


@dataclass(frozen=True)
class Components:
    """What is known of each row of a cluster, in the cluster's order of rows.

    Attributes:
        size: rows in the row's component
        representative: position of the row that stands for the component
        cosine: <x, y> of the row and that one
    """

    size: Int32[np.ndarray, "n"]
    representative: Int64[np.ndarray, "n"]
    cosine: Float32[np.ndarray, "n"]

    @property
    def kept(self) -> Bool[np.ndarray, "n"]:
        """Whether a row is the one that stays."""
        kept: Bool[np.ndarray, "n"] = self.representative == np.arange(len(self.representative))
        return kept


def dedup_stage(
    folder: Location,
    clusters: Parts,
    centroids: Parts,
    params: DedupParams,
    memory: int,
    forest: Parts | None = None,
) -> Stage:
    """Plan `dedup/`: one part for each range of clusters; depends on counts only.

    Args:
        folder: `dedup/`
        clusters: stage 2
        centroids: stage 2
        params: of this stage
        memory: bytes one task may use
        forest: of these clusters, with a floor that is not above the threshold: says the components without
            comparing rows again. Changes no byte.
    """

    @cache
    def ranges() -> list[tuple[int, int]]:
        return list(cluster_ranges(clusters))

    def tasks() -> Iterator[Task]:
        for number, clustered in enumerate(ranges()):
            part = files.join(folder, part_number(number))
            edges = files.join(forest.folder, part_number(number) + PARQUET) if forest else None
            given = (clusters.folder, clusters.names, clustered, centroids.folder, params, memory, edges)
            yield Task(part, write_dedup, given)

    total, needs = clusters.counts["rows"], Needs(memory)
    return Stage(folder, params, tasks, clusters.hash, rows.receipt_of, needs, size=clusters.size, rows=lambda: total)


def write_dedup(
    folder: Location,
    names: Sequence[str],
    clustered: tuple[int, int],
    centroids_folder: Location,
    params: DedupParams,
    memory: int,
    edges: Location | None,
    part: Part,
) -> Summary:
    """Find the components of some clusters, and write every row with the one that stands for it."""
    centroids = rows.open_array(files.join(centroids_folder, "centroids.npy"))[slice(*clustered)]
    slices = slices_of(folder, names, clustered)
    keys, key_hash, index = keys_in_order(slices)
    drawn = index
    if params.keep == "random":
        drawn = rows_in_order(rows.key_hashes(keys.to_pylist(), params.seed), key_hash, rows.key_lookup(keys))
    forests = read_forests(edges, clustered) if edges else [None] * len(centroids)
    held = keys.nbytes + HELD_BYTES * len(index)
    found = range_components(slices, index, places(drawn), centroids, forests, params, max(memory - held, memory // 4))
    starts = np.cumsum([0, *(piece.stop - piece.start for piece in slices)])
    table = rows.PartTable(part, rows.DEDUP)
    for begin in range(0, len(index), BATCH_ROWS):
        batch = slice(begin, min(begin + BATCH_ROWS, len(index)))
        table.write(dedup_table(slices, starts, index, batch, found, keys))
    kept = int(found.kept.sum())
    return table.close({"rows": table.rows, "kept": kept, "duplicates": table.rows - kept})


def range_components(
    slices: Sequence[Slice],
    index: Int64[np.ndarray, "n"],
    draw: UInt64[np.ndarray, "n"],
    centroids: Float32[np.ndarray, "k d"],
    forests: Sequence[Any],
    params: DedupParams,
    memory: int,
) -> Components:
    """The components of consecutive clusters, one cluster after the other; rows stand in the order of `index`."""
    size = np.empty(len(index), np.int32)
    representative = np.empty(len(index), np.int64)
    cosine = np.empty(len(index), np.float32)
    start = 0
    each = clusters_of(slices, index, centroids.shape[1])
    for (vectors, at), centroid, forest in zip(each, centroids, forests, strict=True):
        stop = start + len(at)
        own = draw[np.sort(index[start:stop])]
        labels = cluster_labels(vectors, at, forest, params.threshold, memory)
        found = components(vectors, labels, np.asarray(centroid), at.astype(np.uint64), own, params, memory)
        size[start + at], cosine[start + at] = found.size, found.cosine
        representative[start + at] = start + at[found.representative]
        ticker.add(len(at))
        start = stop
    return Components(size, representative, cosine)


def cluster_labels(
    vectors: Any,  # noqa: ANN401  numeric.blocks.RowBlocks, which imports torch
    at: Int64[np.ndarray, "n"],
    forest: Any,  # noqa: ANN401  numeric.forest.Forest | None, which imports torch
    threshold: float,
    memory: int,
) -> Int64[np.ndarray, "n"]:
    """A number for the component of each row: from the forest if there is one, else by comparing all rows."""
    from coreset.numeric.components import connected_components
    from coreset.numeric.forest import components_above

    if forest is None:
        return connected_components(vectors, threshold, memory=memory)
    labels: Int64[np.ndarray, "n"] = components_above(len(at), forest, threshold)[at]
    return labels


def components(
    vectors: Any,  # noqa: ANN401  numeric.blocks.RowBlocks, which imports torch
    labels: Int64[np.ndarray, "n"],
    centroid: Float32[np.ndarray, "d"],
    order: UInt64[np.ndarray, "n"],
    draw: UInt64[np.ndarray, "n"],
    params: DedupParams,
    memory: int,
) -> Components:
    """Who stands for each connected component of one cluster.

    Args:
        vectors: float16 rows (n, d)
        labels: what is connected at the threshold
        centroid: of the cluster
        order: place of each row in the order of (key_hash, key): decides ties of the distance
        draw: place of each row in the order of its seeded hash: `keep = random` takes the first
        params: which row to keep, and how near to it the others must be
        memory: bytes that may be used beside the result; does not change it
    """
    from coreset.numeric.bounded import bounded_members
    from coreset.numeric.members import Keep as RankedKeep
    from coreset.numeric.members import chosen_members, kept_cosines
    from coreset.numeric.nearest import squared_distances

    keep: RankedKeep = "nearest" if params.keep == "random" else params.keep
    rank = draw.astype(np.float64) if params.keep == "random" else squared_distances(vectors, centroid, memory=memory)
    if params.min_kept_cosine:
        bounds = (params.threshold, params.min_kept_cosine)
        representative = bounded_members(vectors, labels, *bounds, rank, order, keep, memory=memory)
    else:
        _, component = np.unique(labels, return_inverse=True)
        representative = chosen_members(labels, rank, order, keep)[component]
    _, component, sizes = np.unique(representative, return_inverse=True, return_counts=True)
    cosine = kept_cosines(vectors, representative, memory=memory)
    return Components(sizes[component].astype(np.int32), representative, cosine)


def read_forests(location: Location, clustered: tuple[int, int]) -> list[Any]:
    """The forest of each of some clusters, from the part of `forest/` that holds exactly these."""
    from coreset.numeric.forest import Forest

    table = rows.read_table(location)
    cluster, u, v, cosine = (table[name].to_numpy() for name in ("cluster", "u", "v", "cosine"))
    bounds = np.searchsorted(cluster, np.arange(clustered[0], clustered[1] + 1))
    return [Forest(u[a:b], v[a:b], cosine[a:b]) for a, b in itertools.pairwise(bounds)]


def dedup_table(
    slices: Sequence[Slice],
    starts: Int64[np.ndarray, "p_plus_1"],
    index: Int64[np.ndarray, "n"],
    batch: slice,
    found: Components,
    keys: pa.ChunkedArray,
) -> pa.Table:
    """A batch of rows in the order of `index`, with their component.

    Each slice is sorted as the whole is, so the rows of it that a batch needs are neighbours: only they are read.
    """
    picked = index[batch]
    owner = np.searchsorted(starts, picked, side="right") - 1
    asked, where = [], []
    for number in np.unique(owner):
        mine = np.flatnonzero(owner == number)
        low = int(picked[mine[0]] - starts[number]) + slices[number].start
        asked.append((slices[number].part + PARQUET, rows.CLUSTERS.names, low, low + len(mine)))
        where.append(mine)
    table = pa.concat_tables(rows.read_tables(asked)).take(pa.array(np.argsort(np.concatenate(where))))
    return (
        table.append_column("component_size", [found.size[batch]])
        .append_column("kept", [found.kept[batch]])
        .append_column("kept_key", keys.take(pa.array(index[found.representative[batch]])).combine_chunks())
        .append_column("kept_cosine", [found.cosine[batch]])
    )
