"""Whether `rows/`, `centroids/` and `clusters/` hold what they must, and the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64, UInt64

from coreset import rows
from coreset.cluster import CENTROIDS, cluster_offsets
from coreset.engine.files import Location, join
from coreset.engine.outgoing import Seal
from coreset.engine.stage import PARQUET, Parts, file_of
from coreset.exclude import EXCLUDED
from coreset.keys import Collision, key_checks
from coreset.results.inspect.found import (
    CLUSTER_NUMBERS,
    ROW_NUMBERS,
    ROW_TEXTS,
    Found,
    Order,
    batches,
    digests,
    first_wrong,
    key_hash_wrong,
    total,
    vectors_found,
    wrong,
)
from coreset.results.verify.check_files import file_found
from coreset.vectors import PickedRows, lent_file, lent_location

ROW_COLUMNS = ("key", "key_hash", "text_cosine", *ROW_NUMBERS, *ROW_TEXTS)
CLUSTERED_COLUMNS = (*ROW_COLUMNS, *CLUSTER_NUMBERS)
GRID = 2.0**24
"""Numbers of centroids are multiples of 1 / GRID."""
COMPARED_ROWS = 256
"""Rows of a part of `clusters/` whose nearest centroid is found again, unless all are."""

Numbers = UInt64[np.ndarray, "n"]


def rows_calls(stage: Parts, listed: dict[str, Any], with_vectors: bool) -> Iterator[Callable[[], Found]]:
    """One call for each part of `rows/`; vectors are not looked at if some are not what they were."""
    dimension = next((width for width in map(dimension_of, stage.locations()) if width), 0) if with_vectors else None
    for name in stage.names:
        asides = [file_of(stage.folder, name, suffix) for suffix in listed[name]["files"] if "/" in suffix]
        yield partial(rows_found, join(stage.folder, name + PARQUET), asides, stage.summaries[name], dimension)


def rows_found(location: Location, asides: list[Location], summary: dict[str, int], dimension: int | None) -> Found:
    """Whether a part of `rows/` holds what it must; its digests.

    Args:
        location: the Parquet
        asides: files with what was quarantined of it
        summary: counts of the part
        dimension: length of the vectors of the run; None not to look at them
    """
    found, places, hashes, sources = [], [np.empty(0, np.int64)], [np.empty(0, np.uint64)], set()
    for first, table in batches(location, ROW_COLUMNS):
        found += [digests(table), key_hash_wrong(location, first, table)]
        unranked = table["text_cosine"].is_null().to_numpy()
        bad = np.where(unranked, table["caption"].is_valid().to_numpy(), ~np.isfinite(table["text_cosine"].to_numpy()))
        found.append(first_wrong(location, first, bad, "its text_cosine is not finite, or null beside a caption"))
        places.append(table["vector_row"].to_numpy())
        hashes.append(table["key_hash"].to_numpy())
        sources |= set(table["source"].unique().to_pylist())
    if len(sources) > 1:
        found.append(wrong(location, f"has rows of {len(sources):,} sources"))
    refused = 0
    for aside in asides:
        table = rows.read_table(aside)
        is_known = table.schema.equals(rows.QUARANTINE)
        refused += sum(table["rows"].to_pylist()) if is_known else 0
        found.append(Found() if is_known else wrong(aside, "its columns are not as documented"))
    if (refused, summary["samples"]) != (summary["quarantined"], summary["rows"] + refused):
        found.append(wrong(location, f"{refused:,} quarantined rows do not make its counts {summary} add up"))
    if dimension is not None:
        place, vectors = lent_or_own(location)
        found.append(picked_found(location, place, vectors, np.concatenate(places), np.concatenate(hashes), dimension))
    return total(found)


def picked_found(
    location: Location,
    place: str,
    vectors: Any,  # noqa: ANN401  rows by slices
    index: Int64[np.ndarray, "n"],
    hashes: Numbers,
    dimension: int,
) -> Found:
    """Whether the rows of a part have vectors, each its own."""
    bad = (index < 0) | (index >= len(vectors)) | (np.diff(index, prepend=-1) <= 0)
    if bad.any():
        return first_wrong(location, 0, bad, f"its vector_row is not the next one of the {len(vectors):,} in {place}")
    whole = len(index) == len(vectors)
    return vectors_found(place, vectors if whole else PickedRows(vectors, index), hashes, dimension)


def lent_or_own(location: Location) -> tuple[str, Any]:
    """The file with a part's vectors, and these."""
    lent = lent_file(location)
    if lent is None:
        return location.removesuffix(PARQUET) + rows.VECTORS, rows.open_vectors(location)
    place = lent_location(location.rpartition("/rows/")[0], lent)
    return place, rows.open_array(place)


def dimension_of(location: Location) -> int:
    """Length of a part's vectors; 0 where there are none."""
    vectors = lent_or_own(location)[1]
    return int(vectors.shape[-1]) if len(vectors) else 0


def lent_calls(run: Location, stage: Parts) -> Iterator[Callable[[], Found]]:
    """One call for each file of the user's that the run uses where it lies."""
    for location in stage.locations():
        lent = lent_file(location)
        if lent is not None:
            remedy = "put it back, name its new place with `coreset import FOLDER`, or import anew with --overwrite"
            yield partial(file_found, lent_location(run, lent), Seal(lent.size, lent.hash), remedy)


def collision_calls(stage: Parts) -> Iterator[Callable[[], Found]]:
    """One call for each range of hashes: whether a key stands twice."""
    for check in key_checks(stage.locations()):
        yield partial(collision_found, stage.folder, check)


def collision_found(place: str, check: Callable[[], list[Collision]]) -> Found:
    """Whether a range of hashes has a key that stands twice."""
    return total(wrong(place, f"key {key} is in {one} and again in {other}") for key, one, other in check())


def centroids_calls(stage: Parts) -> Iterator[Callable[[], Found]]:
    """The call that looks at the centroids."""
    yield partial(centroids_found, stage.folder, stage.counts["clusters"], stage.counts["dimension"])


def centroids_found(folder: Location, clusters: int, dimension: int) -> Found:
    """Whether the centroids are float32 of their documented grid, and the lengths theirs."""
    place = join(folder, CENTROIDS)
    centroids = np.asarray(rows.open_array(place))
    if centroids.dtype != np.float32 or centroids.shape != (clusters, dimension):
        return wrong(place, f"is {centroids.dtype} {centroids.shape}; it must be float32 {(clusters, dimension)}")
    exact = centroids.astype(np.float64)
    on_grid = (np.isfinite(exact) & (np.rint(exact * GRID) == exact * GRID)).all(axis=1)
    found = first_wrong(place, 0, ~on_grid, "is not finite and made of multiples of 2^-24")
    table = rows.read_table(join(folder, "centroids" + PARQUET))
    lengths = np.sqrt(np.einsum("kd,kd->k", centroids, centroids, dtype=np.float64))
    bad = (table["cluster"].to_numpy() != np.arange(clusters)) | (table["length"].to_numpy() != lengths)
    return found + first_wrong(join(folder, "centroids" + PARQUET), 0, bad, "is not the length of that centroid")


def clusters_calls(
    stage: Parts, listed: dict[str, Any], centroids: Parts, full: bool, memory: int
) -> Iterator[Callable[[], Found]]:
    """One call for each part of `clusters/`, and for each file of rows that were left out there."""
    for name in stage.names:
        yield partial(clusters_found, join(stage.folder, name), join(centroids.folder, CENTROIDS), full, memory)
        asides = [file_of(stage.folder, name, suffix) for suffix in listed[name]["files"] if "/" in suffix]
        yield partial(aside_found, join(stage.folder, name), asides, stage.summaries[name].get("excluded", 0))


def aside_found(part: Location, asides: list[Location], excluded: int) -> Found:
    """Whether the rows that were left out are as many as the part says; their digests."""
    for aside in asides:
        if not rows.read_table(aside, stop=0).schema.equals(EXCLUDED):
            return wrong(aside, "its columns are not as documented")
    together = total(digests(table) for aside in asides for _, table in batches(aside, ROW_COLUMNS))
    if together.rows != excluded:
        return together + wrong(part, f"{together.rows:,} rows were left out, and {excluded:,} are counted")
    return together


def clusters_found(part: Location, centroids_file: Location, full: bool, memory: int) -> Found:
    """Whether a part of `clusters/` is sorted, and its vectors, offsets and distances are right; its digests."""
    location, place = part + PARQUET, part + rows.VECTORS
    centroids = np.asarray(rows.open_array(centroids_file))
    order, found = Order(), []
    assigned, hashes = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
    for first, table in batches(location, CLUSTERED_COLUMNS):
        found += [digests(table), key_hash_wrong(location, first, table), order.wrong(location, first, table)]
        assigned.append(table["cluster"].to_numpy())
        hashes.append(table["key_hash"].to_numpy())
    cluster = np.concatenate(assigned)
    bad = (cluster < 0) | (cluster >= len(centroids))
    if bad.any():
        return total(found) + first_wrong(location, 0, bad, f"its cluster is not one of the {len(centroids):,}")
    offsets = np.asarray(rows.open_array(part + rows.OFFSETS))
    if offsets.dtype != np.int64 or not np.array_equal(offsets, cluster_offsets(cluster, len(centroids))):
        found.append(wrong(part + rows.OFFSETS, "does not say where each cluster of the part begins"))
    vectors = rows.open_vectors(location)
    found.append(vectors_found(place, vectors, np.concatenate(hashes), centroids.shape[1]))
    if not found[-1].count:
        found.append(distances_found(location, vectors, centroids, compared_rows(part, len(cluster), full), memory))
    return total(found)


def compared_rows(part: Location, count: int, full: bool) -> Int64[np.ndarray, "m"]:
    """The rows of a part that are compared: all, or some at random, the same ones each time."""
    if full or count <= COMPARED_ROWS:
        return np.arange(count)
    draw = np.random.default_rng(int(part.rpartition("/")[2]))
    return np.sort(draw.choice(count, COMPARED_ROWS, replace=False))


def distances_found(
    location: Location,
    vectors: Any,  # noqa: ANN401  numeric.blocks.RowBlocks, which imports torch
    centroids: Float32[np.ndarray, "k d"],
    chosen: Int64[np.ndarray, "m"],
    memory: int,
) -> Found:
    """Whether some rows stand in the cluster of their nearest centroid, with the exact distance and cosine."""
    from coreset.numeric.nearest import centroid_cosines, nearest_centroids

    picked = vectors if len(chosen) == len(vectors) else np.asarray(vectors[chosen])
    nearest, squared = nearest_centroids(picked, centroids, memory=memory // 2)
    cosines = centroid_cosines(picked, centroids, nearest, memory=memory // 2)
    table = rows.chosen_rows(location, chosen, CLUSTER_NUMBERS) if len(chosen) else pa.table({})
    values = (nearest, np.sqrt(squared).astype(np.float32), cosines)
    found = [Found(compared=len(chosen))]
    for name, value in zip(CLUSTER_NUMBERS, values if len(chosen) else (), strict=False):
        index = chosen[table[name].to_numpy() != value]
        if len(index):
            found.append(wrong(f"{location} row {int(index[0]):,}", f"its {name} is not what its vector gives"))
    return total(found)
