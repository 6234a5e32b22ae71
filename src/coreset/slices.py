"""Reading clusters across the parts of `clusters/`: each part is sorted, and holds a slice of every cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.engine.stage import PARQUET, Parts
from coreset.numeric.ranks import rows_in_order

TASK_ROWS = 1 << 18
"""Consecutive clusters are handled in tasks of about so many rows; the last cluster may exceed it."""
MOST_ROWS = 2**31 - 1
"""Rows that one cluster may have: sizes of components and places in a cluster are numbers of 32 bits."""


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


def cluster_ranges(clusters: Parts) -> Iterator[tuple[int, int]]:
    """First and end of consecutive clusters that together reach `TASK_ROWS` rows; depends on counts only.

    Raises:
        InputError: A cluster has more than `MOST_ROWS` rows.
    """
    return ranges_of(np.diff(sum(np.asarray(rows.open_array(where)) for where in clusters.locations(rows.OFFSETS))))


def ranges_of(sizes: Int64[np.ndarray, "k"]) -> Iterator[tuple[int, int]]:
    """First and end of consecutive clusters of these sizes that together reach `TASK_ROWS` rows.

    Raises:
        InputError: A cluster has more than `MOST_ROWS` rows.

    Example:
        >>> list(ranges_of(np.array([200_000, 100_000, 0, 7, 0])))
        [(0, 2), (2, 5)]
    """
    if len(sizes) and (most := int(sizes.max())) > MOST_ROWS:
        raise InputError(
            f"Cluster {int(sizes.argmax())} has {most:,} rows, more than {MOST_ROWS:,}; choose more --clusters, with "
            f"--overwrite."
        )
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        stop = min(len(sizes), int(np.searchsorted(ends, before + TASK_ROWS)) + 1)
        if ends[stop - 1] > before:  # the last clusters may all be empty
            yield first, stop
        first = stop


def slices_of(folder: Location, names: Sequence[str], clustered: tuple[int, int]) -> list[Slice]:
    """Where the rows of consecutive clusters lie: one slice for each part that has some."""
    first, stop = clustered

    def slice_of(name: str) -> Slice:
        part = files.join(folder, name)
        return Slice(part, np.asarray(rows.open_array(part + rows.OFFSETS)[first : stop + 1]))

    found = files.many(slice_of, names) if files.is_remote(folder) else [slice_of(name) for name in names]
    return [piece for piece in found if piece.start < piece.stop]


def keys_in_order(slices: Sequence[Slice]) -> tuple[pa.ChunkedArray, UInt64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    """Keys of the rows of some slices, counted through slice after slice.

    Returns:
        The keys; their hashes; the indices that sort the rows by (cluster, key_hash, key).
    """
    wanted = ["key", "key_hash"]
    names = pa.concat_tables(rows.read_tables([(s.part + PARQUET, wanted, s.start, s.stop) for s in slices]))
    clusters = [np.repeat(np.arange(len(s.offsets) - 1, dtype=np.uint64), np.diff(s.offsets)) for s in slices]
    key_hash = names["key_hash"].to_numpy()
    return names["key"], key_hash, rows_in_order(np.concatenate(clusters), key_hash, rows.key_lookup(names["key"]))


def clusters_of(
    slices: Sequence[Slice], index: Int64[np.ndarray, "n"], dimension: int
) -> Iterator[tuple[rows.VectorSlices, Int64[np.ndarray, "m"]]]:
    """Each of the clusters: its vectors, slice after slice, and the place of each row in (key_hash, key) order.

    Args:
        slices: of the same clusters
        index: sorts their rows, see `keys_in_order`
        dimension: of the vectors
    """
    vectors = rows.held_ranges([(piece.part + PARQUET, piece.start, piece.stop) for piece in slices])
    stop = 0
    for cluster in range(len(slices[0].offsets) - 1):
        pieces = [
            (x, int(s.offsets[cluster]) - first, int(s.offsets[cluster + 1]) - first)
            for (x, first), s in zip(vectors, slices, strict=True)
        ]
        own = rows.VectorSlices(pieces, dimension)
        start, stop = stop, stop + own.shape[0]
        yield own, places(np.argsort(np.argsort(index[start:stop]))).astype(np.int64)


def places(index: Int64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """The place of each row in an order that is given by the rows' indices.

    Example:
        >>> places(np.array([2, 0, 1]))
        array([1, 2, 0], dtype=uint64)
    """
    place = np.empty(len(index), np.uint64)
    place[index] = np.arange(len(index), dtype=np.uint64)
    return place
