"""A plane that rows are projected to: two principal components of a seeded sample.

The components are rounded to multiples of 2^-24, as centroids are: so products are exact, and where a point lies does
not depend on the rows that it is computed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float16, Float32, Float64, Int64

from coreset import rows
from coreset.engine.stage import Parts
from coreset.numeric.ranks import rows_in_order
from coreset.results.beside import ordered_vectors
from coreset.results.fate import BATCH_ROWS
from coreset.slices import cluster_ranges

FIT_ROWS = 50_000
"""Rows that the components are computed from: those with the smallest xxh3_64(key, seed)."""
BLOCK_ROWS = 4096
"""Vectors that are held as float64 at a time."""
GRID = 2.0**24


@dataclass(frozen=True)
class Plane:
    """Two directions, and where the mean of the sample lies along them.

    Attributes:
        axes: multiples of 2^-24, nearly orthonormal
        origin: of the plane
    """

    axes: Float64[np.ndarray, "d 2"]
    origin: Float64[np.ndarray, "2"]

    def points(self, vectors: Float16[np.ndarray, "n d"]) -> Float32[np.ndarray, "n 2"]:
        """Where some rows lie; exact but for the last rounding."""
        found = np.empty((len(vectors), 2), np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            found[block] = vectors[block].astype(np.float64) @ self.axes - self.origin
        return found


@dataclass(frozen=True)
class Sample:
    """Rows with the smallest seeded hashes: a longer sample has all rows of a shorter one.

    Attributes:
        part: number of the part of `dedup/` that a row is in
        row: its place in the part
    """

    part: Int64[np.ndarray, "m"]
    row: Int64[np.ndarray, "m"]

    def head(self, most: int) -> Sample:
        """The first so many."""
        return Sample(self.part[:most], self.row[:most])

    def of_part(self, number: int) -> Int64[np.ndarray, "r"]:
        """The rows of a part, ascending."""
        return np.sort(self.row[self.part == number])


def smallest_hashed(dedup: Parts, most: int, seed: int) -> Sample:
    """The rows with the smallest xxh3_64(key, seed), in that order, by one pass that holds a few times so many keys."""
    held: list[pa.Table] = []
    for number, location in enumerate(dedup.locations()):
        start = 0
        for table in rows.table_batches(location, ["key", "key_hash"], BATCH_ROWS):
            places = np.arange(start, start + table.num_rows)
            order = rows.key_hashes(table["key"].to_pylist(), seed)
            columns = {"order": order, "part": np.full(len(places), number), "row": places}
            held.append(pa.table({**columns, "key": table["key"], "key_hash": table["key_hash"]}))
            start += table.num_rows
            if sum(piece.num_rows for piece in held) > 2 * most + BATCH_ROWS:
                held = [_first(held, most)]
    found = _first(held, most)
    return Sample(found["part"].to_numpy(), found["row"].to_numpy())


def _first(held: Sequence[pa.Table], most: int) -> pa.Table:
    """The rows with the smallest orders, sorted; ties by (key_hash, key)."""
    table = pa.concat_tables(held)
    index = rows_in_order(table["order"].to_numpy(), table["key_hash"].to_numpy(), rows.key_lookup(table["key"]))
    return table.take(pa.array(index[:most]))


def fitted_plane(clusters: Parts, sample: Sample) -> Plane:
    """The two directions along which the vectors of a sample vary most.

    A direction points to where its largest component is positive. Where the sample has fewer than two directions, the
    others are zeros.
    """
    count, total, squares = 0, np.zeros(0), np.zeros((0, 0))
    for number, clustered in enumerate(cluster_ranges(clusters)):
        wanted = sample.of_part(number)
        if not len(wanted):
            continue
        vectors = ordered_vectors(clusters, clustered)
        if not count:
            total, squares = np.zeros(vectors.dimension), np.zeros((vectors.dimension, vectors.dimension))
        for start in range(0, len(wanted), BLOCK_ROWS):
            x = vectors.chosen(wanted[start : start + BLOCK_ROWS]).astype(np.float64)
            total += x.sum(0)
            squares += x.T @ x
            count += len(x)
    mean = total / count
    axes = principal_axes(squares / count - np.outer(mean, mean))
    return Plane(axes, mean @ axes)


def principal_axes(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d 2"]:
    """The two directions of largest variance, rounded to multiples of 2^-24.

    Example:
        >>> principal_axes(np.diag([1.0, 3.0, 2.0])).T
        array([[0., 1., 0.],
               [0., 0., 1.]])
        >>> principal_axes(np.ones((1, 1)))
        array([[1., 0.]])
    """
    _, vectors = np.linalg.eigh(covariance)
    found = vectors[:, ::-1][:, :2]
    largest = found[np.abs(found).argmax(0), np.arange(found.shape[1])]
    axes = np.zeros((len(covariance), 2))
    axes[:, : found.shape[1]] = np.rint(found * np.where(largest < 0, -1, 1) * GRID) / GRID + 0.0
    return axes
