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
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed {self.seed} must be at least 0 and below 2^64.")


@dataclass(frozen=True)
class Slice:
    """The rows of consecutive clusters in one part of `clusters/`.

    Attributes:
        part: without suffix
        offsets: where each of the clusters begins in the part, and where the last one ends
    """

    part: Location
    offsets: Int64[np.ndarray, "k_plus_1"]

    @property
    def start(self) -> int:
        """The first row."""
        return int(self.offsets[0])

    @property
    def stop(self) -> int:
        """One past the last row."""
        return int(self.offsets[-1])


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
            yield Task(
                part, write_dedup, (clusters.folder, clusters.names, clustered, centroids.folder, params, memory)
            )

    return Stage(folder, params, tasks, clusters.hash, rows.receipt_of, Needs(memory))


def cluster_ranges(clusters: Parts) -> Iterator[tuple[int, int]]:
    """First and end of consecutive clusters that together reach `PART_ROWS` rows."""
    sizes = np.diff(sum(np.asarray(rows.open_array(where)) for where in clusters.locations(rows.OFFSETS)))
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        stop = min(len(sizes), int(np.searchsorted(ends, before + PART_ROWS)) + 1)
        if ends[stop - 1] > before:  # the last clusters may all be empty
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
    first, stop = clustered
    centroids = rows.open_array(files.join(centroids_folder, "centroids.npy"))[first:stop]
    located = [slice_of(files.join(folder, name), first, stop) for name in names]
    slices = [piece for piece in located if piece is not None]
    keys, index, draw = rows_of_slices(slices, params)
    found = range_components(slices, index, draw, centroids, params, memory)
    starts = np.cumsum([0, *(piece.stop - piece.start for piece in slices)])
    table = rows.PartTable(part, rows.DEDUP)
    for begin in range(0, len(index), BATCH_ROWS):
        batch = slice(begin, min(begin + BATCH_ROWS, len(index)))
        table.write(dedup_table(slices, starts, index, batch, found, keys))
    kept = int(found.kept.sum())
    return table.close({"rows": table.rows, "kept": kept, "duplicates": table.rows - kept})


def slice_of(part: Location, first: int, stop: int) -> Slice | None:
    """Where the clusters `first` to `stop` lie in a part; None if it has no row of them."""
    found = Slice(part, np.asarray(rows.open_array(part + rows.OFFSETS)[first : stop + 1]))
    return found if found.start < found.stop else None


def rows_of_slices(
    slices: Sequence[Slice], params: DedupParams
) -> tuple[pa.ChunkedArray, Int64[np.ndarray, "n"], UInt64[np.ndarray, "n"]]:
    """Keys, order and draw of the rows of some slices, counted through slice after slice.

    Returns:
        The keys; the indices that sort the rows by (cluster, key_hash, key); the place of each row in the order of
        its seeded hash, which `keep = random` goes by.
    """
    wanted = ["key", "key_hash"]
    names = pa.concat_tables(rows.read_table(s.part + PARQUET, wanted, s.start, s.stop) for s in slices)
    clusters = [np.repeat(np.arange(len(s.offsets) - 1, dtype=np.uint64), np.diff(s.offsets)) for s in slices]
    key_hash, lookup = names["key_hash"].to_numpy(), rows.key_lookup(names["key"])
    index = rows_in_order(np.concatenate(clusters), key_hash, lookup)
    drawn = index
    if params.keep == "random":
        drawn = rows_in_order(rows.key_hashes(names["key"].to_pylist(), params.seed), key_hash, lookup)
    return names["key"], index, places(drawn)


def range_components(
    slices: Sequence[Slice],
    index: Int64[np.ndarray, "n"],
    draw: UInt64[np.ndarray, "n"],
    centroids: Float32[np.ndarray, "k d"],
    params: DedupParams,
    memory: int,
) -> Components:
    """The components of consecutive clusters, one cluster after the other; rows stand in the order of `index`."""
    size = np.empty(len(index), np.int32)
    representative = np.empty(len(index), np.int64)
    cosine = np.empty(len(index), np.float32)
    vectors = [rows.open_vectors(piece.part + PARQUET) for piece in slices]
    stop = 0
    for cluster, centroid in enumerate(centroids):
        pieces = [
            (x, int(s.offsets[cluster]), int(s.offsets[cluster + 1])) for x, s in zip(vectors, slices, strict=True)
        ]
        own = rows.VectorSlices(pieces, len(centroid))
        start, stop = stop, stop + own.shape[0]
        members = index[start:stop]
        order = places(np.argsort(np.argsort(members)))
        found = components(own, np.asarray(centroid), order, draw[np.sort(members)], params, memory)
        at = order.astype(np.int64)
        size[start + at], cosine[start + at] = found.size, found.cosine
        representative[start + at] = start + at[found.representative]
        ticker.add(len(members))
    return Components(size, representative, cosine)


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
    pieces, where = [], []
    for number in np.unique(owner):
        mine = np.flatnonzero(owner == number)
        low = int(picked[mine[0]] - starts[number]) + slices[number].start
        pieces.append(rows.read_table(slices[number].part + PARQUET, rows.CLUSTERS.names, low, low + len(mine)))
        where.append(mine)
    table = pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(where))))
    return (
        table.append_column("component_size", [found.size[batch]])
        .append_column("kept", [found.kept[batch]])
        .append_column("kept_key", keys.take(pa.array(index[found.representative[batch]])).combine_chunks())
        .append_column("kept_cosine", [found.cosine[batch]])
    )
