"""Every row as a point of a plane with its fate, for any tool that plots millions of points from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from coreset import rows
from coreset.engine.errors import UsageError
from coreset.engine.files import Location
from coreset.engine.outgoing import outgoing
from coreset.engine.progress import Progress, quiet
from coreset.results.beside import OrderedVectors, clusters_behind, ordered_vectors
from coreset.results.fate import Decided, decided, fated_part
from coreset.results.plane import BLOCK_ROWS, FIT_ROWS, Plane, fitted_plane, smallest_hashed
from coreset.slices import cluster_ranges

MAP_COLUMNS = (
    rows.Column("x", pa.float32(), "place along the first principal component, from the mean of the sample"),
    rows.Column("y", pa.float32(), "place along the second one"),
    rows.Column("fate", pa.string(), "what became of the row"),
    rows.Column("key", pa.string(), "names the row"),
    rows.Column("caption", pa.string(), "the text of the pair; null if there is none"),
)
MAP = rows.schema(MAP_COLUMNS)


def write_map(run: Location, location: Location, seed: int = 0, progress: Progress = quiet) -> int:
    """Write every row of a run as a point with its fate, key and caption; the file appears whole or not at all.

    Args:
        run: the run directory
        location: a Parquet file, replaced if it is there
        seed: of the sample that the directions are computed from
        progress: told what is done

    Returns:
        How many points there are: all rows but those that a list excludes.

    Raises:
        InputError: The run is not selected to its end.
        UsageError: The file is not named `.parquet`.
    """
    if not location.endswith(".parquet"):
        raise UsageError(f"{location} must end in .parquet.")
    by = decided(run)
    progress.start("map", len(by.dedup.names), 0)
    file = outgoing(location)
    try:
        writer = rows.TableWriter(file, MAP)
        for table in map_tables(by, seed, progress):
            writer.write(table)
        writer.close({})
        file.commit()
    finally:
        file.discard()
    progress.finish({"rows": writer.rows})
    return writer.rows


def map_points(run: Location, most: int, seed: int = 0) -> pa.Table:
    """Some rows of a run as points, with fate, key and caption; they lie where `write_map` puts them.

    Args:
        run: the run directory
        most: at most so many, those with the smallest xxh3_64(key, seed); in the order of `dedup/`
        seed: of the sample

    Raises:
        InputError: The run is not selected to its end.
    """
    by = decided(run)
    clusters = clusters_behind(run, by.dedup)
    sample = smallest_hashed(by.dedup, max(most, FIT_ROWS), seed)
    plane = fitted_plane(clusters, sample.head(FIT_ROWS))
    pieces = [MAP.empty_table()]
    for number, (location, clustered) in enumerate(zip(by.dedup.locations(), cluster_ranges(clusters), strict=True)):
        wanted = sample.head(most).of_part(number)
        if not len(wanted):
            continue
        points = plane.points(ordered_vectors(clusters, clustered).chosen(wanted))
        start = 0
        for table in fated_part(by, location, ("key", "caption")):
            low, high = np.searchsorted(wanted, [start, start + table.num_rows])
            pieces.append(_points_table(table.take(pa.array(wanted[low:high] - start)), points[low:high]))
            start += table.num_rows
    return pa.concat_tables(pieces)


def map_tables(by: Decided, seed: int, progress: Progress = quiet) -> Iterator[pa.Table]:
    """All rows of `dedup/` as points, in pieces, in their order."""
    clusters = clusters_behind(by.run, by.dedup)
    plane = fitted_plane(clusters, smallest_hashed(by.dedup, FIT_ROWS, seed))
    for location, clustered in zip(by.dedup.locations(), cluster_ranges(clusters), strict=True):
        vectors, start = ordered_vectors(clusters, clustered), 0
        for table in fated_part(by, location, ("key", "caption")):
            places = np.arange(start, start + table.num_rows)
            yield _points_table(table, _points(plane, vectors, places))
            start += table.num_rows
        progress.advance({"rows": start})


def _points(plane: Plane, vectors: OrderedVectors, places: Int64[np.ndarray, "n"]) -> Float32[np.ndarray, "n 2"]:
    blocks = [places[start : start + BLOCK_ROWS] for start in range(0, len(places), BLOCK_ROWS)]
    return np.concatenate([np.empty((0, 2), np.float32), *(plane.points(vectors.chosen(block)) for block in blocks)])


def _points_table(table: pa.Table, points: Float32[np.ndarray, "n 2"]) -> pa.Table:
    x, y = (pa.array(np.ascontiguousarray(column)) for column in points.T)
    return pa.table([x, y, *(table[name] for name in MAP.names[2:])], schema=MAP)
