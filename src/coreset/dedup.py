"""Stage 3: clusters -> dedup/. In each cluster the near-duplicates are joined, and one of each component is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int32, Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import UsageError
from coreset.engine.files import Location
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Needs, Part, Parts, Stage, Summary, Task
from coreset.numeric.ranks import rows_in_order

PART_ROWS = 1 << 18
"""Consecutive clusters are deduplicated in tasks of about so many rows; the last cluster may exceed it."""
BATCH_ROWS = 1 << 18
"""So many rows of the table are held at a time, however large the cluster."""
Keep = Literal["median", "nearest", "farthest", "random"]
KEEP = ("median", "nearest", "farthest", "random")


@dataclass(frozen=True)
class DedupParams:
    """Parameters of `dedup`; the defaults are the paper's."""

    stage: ClassVar[str] = "dedup"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"rule", "source", "threshold", "keep", "seed"})

    threshold: float = field(default=0.86, metadata={"help": "two rows whose cosine is above this are joined"})
    keep: Keep = field(
        default="median",
        metadata={"help": "the row of a component that stays, by distance to the centroid: " + ", ".join(KEEP)},
    )
    seed: int = field(default=0, metadata={"help": "of keep = random"})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not 0 < self.threshold <= 1:
            meant = f"; did you mean {self.threshold / 100:g}?" if 1 < self.threshold <= 100 else "."
            raise UsageError(f"--threshold {self.threshold:g} must be above 0 and at most 1{meant}")
        if self.keep not in KEEP:
            raise UsageError(f"--keep {self.keep} is not known; use {', '.join(KEEP)}.")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} must be at least 0.")


@dataclass(frozen=True)
class ClusterRange:
    """Consecutive clusters and their rows, wherever they lie.

    Attributes:
        first: the first cluster
        stop: one past the last
        slices: part of `clusters/` without suffix, first row and end of the range in it
    """

    first: int
    stop: int
    slices: tuple[tuple[Location, int, int], ...]


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


def dedup_stage(folder: Location, clusters: Parts, centroids: Parts, params: DedupParams, memory: int) -> Stage:
    """Plan `dedup/`: one part for consecutive clusters of about `PART_ROWS` rows; depends on counts only."""

    def tasks() -> Iterator[Task]:
        for number, clustered in enumerate(cluster_ranges(clusters)):
            part = files.join(folder, f"{number:05d}")
            yield Task(part, write_dedup, (clusters.folder, clusters.names, clustered, centroids.folder, params, memory))

    return Stage(folder, params, tasks, clusters.hash, rows.receipt_of, Needs(memory))


def cluster_ranges(clusters: Parts) -> Iterator[tuple[int, int]]:
    """First and end of consecutive clusters that together reach `PART_ROWS` rows."""
    sizes = np.diff(sum(np.asarray(rows.open_array(where)) for where in clusters.locations(rows.OFFSETS)))
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        stop = min(len(sizes), int(np.searchsorted(ends, before + PART_ROWS)) + 1)
        yield first, stop
        first = stop


def write_dedup(
    folder: Location,
    names: Sequence[str],
    clustered: tuple[int, int],
    centroids_folder: Location,
    params: DedupParams,
    memory: int,
    part: Part,
) -> Summary:
    """Find the components of some clusters, and write every row with the one that stands for it."""
    offsets = [rows.open_array(files.join(folder, name + rows.OFFSETS)) for name in names]
    centroids = rows.open_array(files.join(centroids_folder, "centroids.npy"))
    table = rows.PartTable(part, rows.DEDUP)
    kept = 0
    for cluster in range(*clustered):
        slices = [
            (files.join(folder, name), int(start[cluster]), int(start[cluster + 1]))
            for name, start in zip(names, offsets, strict=True)
            if start[cluster] < start[cluster + 1]
        ]
        if slices:
            kept += write_cluster(slices, np.asarray(centroids[cluster]), params, memory, table)
    return table.close({"rows": table.rows, "kept": kept, "duplicates": table.rows - kept})


def write_cluster(
    slices: Sequence[tuple[Location, int, int]],
    centroid: Float32[np.ndarray, "d"],
    params: DedupParams,
    memory: int,
    table: rows.PartTable,
) -> int:
    """Write the rows of one cluster, which lies in slices of several parts; returns how many are kept."""
    names = pa.concat_tables(
        rows.read_table(name + PARQUET, ["key", "key_hash"], start, stop) for name, start, stop in slices
    )
    key_hash, lookup = names["key_hash"].to_numpy(), rows.key_lookup(names["key"])
    index = rows_in_order(np.zeros(len(key_hash), np.uint64), key_hash, lookup)
    vectors = rows.VectorSlices(
        [(rows.open_vectors(name + PARQUET), start, stop) for name, start, stop in slices], len(centroid)
    )
    drawn = index
    if params.keep == "random":
        drawn = rows_in_order(rows.key_hashes(names["key"].to_pylist(), params.seed), key_hash, lookup)
    found = components(vectors, centroid, places(index), places(drawn), params, memory)
    starts = np.cumsum([0, *(stop - start for _, start, stop in slices)])
    for begin in range(0, len(index), BATCH_ROWS):
        picked = index[begin : begin + BATCH_ROWS]
        table.write(dedup_table(slices, starts, picked, found, names["key"]))
        ticker.add(len(picked))
    return int(found.kept.sum())


def components(
    vectors: Any,  # noqa: ANN401  numeric.blocks.RowBlocks, which imports torch
    centroid: Float32[np.ndarray, "d"],
    order: UInt64[np.ndarray, "n"],
    draw: UInt64[np.ndarray, "n"],
    params: DedupParams,
    memory: int,
) -> Components:
    """The connected components of one cluster, and who stands for each.

    Args:
        vectors: float16 rows (n, d)
        centroid: of the cluster
        order: place of each row in the order of (key_hash, key): decides ties of the distance
        draw: place of each row in the order of its seeded hash: `keep = random` takes the first
        params: threshold and which row to keep
        memory: bytes that may be used beside the result; does not change it
    """
    from coreset.numeric.components import connected_components
    from coreset.numeric.members import chosen_members, kept_cosines
    from coreset.numeric.nearest import squared_distances

    labels = connected_components(vectors, params.threshold, memory=memory)
    if params.keep == "random":
        chosen = chosen_members(labels, draw.astype(np.float64), order, "nearest")
    else:
        distances = squared_distances(vectors, centroid, memory=memory)
        chosen = chosen_members(labels, distances, order, params.keep)
    _, component, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    representative = chosen[component]
    cosine = kept_cosines(vectors, representative, memory=memory)
    return Components(sizes[component].astype(np.int32), representative, cosine)


def places(index: Int64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """The place of each row in an order that is given by the rows' indices.

    Example:
        >>> places(np.array([2, 0, 1]))
        array([1, 2, 0], dtype=uint64)
    """
    place = np.empty(len(index), np.uint64)
    place[index] = np.arange(len(index), dtype=np.uint64)
    return place


def dedup_table(
    slices: Sequence[tuple[Location, int, int]],
    starts: Int64[np.ndarray, "p_plus_1"],
    picked: Int64[np.ndarray, "b"],
    found: Components,
    keys: pa.ChunkedArray,
) -> pa.Table:
    """The rows `picked`, in that order, with their component.

    Each slice is sorted as the cluster is, so the rows picked from it are neighbours: only they are read.
    """
    owner = np.searchsorted(starts, picked, side="right") - 1
    pieces, places = [], []
    for number in np.unique(owner):
        name, start, _ = slices[number]
        mine = np.flatnonzero(owner == number)
        low = int(picked[mine[0]] - starts[number]) + start
        pieces.append(rows.read_table(name + PARQUET, rows.CLUSTERS.names, low, low + len(mine)))
        places.append(mine)
    table = pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(places))))
    return (
        table.append_column("component_size", [found.size[picked]])
        .append_column("kept", [found.kept[picked]])
        .append_column("kept_key", keys.take(pa.array(found.representative[picked])).combine_chunks())
        .append_column("kept_cosine", [found.cosine[picked]])
    )
