"""Stage 2: rows -> centroids/, clusters/. k-means, then the rows sorted by (cluster, key_hash, key)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32, Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, ResourceError, UsageError
from coreset.engine.files import Location
from coreset.engine.names import part_number
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Execute, Needs, Part, Parts, Stage, Summary, Task, fold
from coreset.exclude import ASIDE, NONE, excluded_rows, read_lists, write_excluded
from coreset.numeric.ranks import OrderKey, answered, between, keys_at_ranks, merged, rows_in_order
from coreset.vectors import PickedRows, row_vectors, vectors_file

ROWS_PER_CLUSTER = 20533
"""The paper's ratio: 100,000 clusters for 2,053,332,591 rows."""
SAMPLE_PER_CLUSTER = 256
PART_ROWS = 1_000_000
BLOCK_BYTES = 32 << 20
CENTROIDS = "centroids.npy"


@dataclass(frozen=True)
class ClusterParams:
    """Parameters of `cluster`; the defaults are the paper's. `rows` and `file` are found out and recorded."""

    stage: ClassVar[str] = "cluster"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"exclude"})

    clusters: int = field(default=0, metadata={"help": "number of centroids; 0 for one per 20,533 rows"})
    centroids: str | None = field(
        default=None, metadata={"help": "a .npy file of float32 (k, d) to use instead of training"}
    )
    iterations: int = field(default=20, metadata={"help": "of k-means"})
    spherical: bool = field(default=False, metadata={"help": "normalise the centroids after each iteration"})
    seed: int = field(default=0, metadata={"help": "of the sample that is trained on, and of k-means"})
    threads: int = field(default=0, metadata={"help": "threads of the training; 0 for all cores of this machine"})
    exclude: str | None = field(
        default=None,
        metadata={"help": "a list of keys, urls, sha256 or md5 that must not be used: text, .csv or .parquet"},
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if self.clusters < 0:
            raise UsageError(f"--clusters {self.clusters} must be at least 1 (or 0 for the paper's ratio).")
        for name, low, high in (("iterations", 1, 2**31), ("seed", 0, 2**31), ("threads", 0, 4096)):
            if not low <= getattr(self, name) < high:
                raise UsageError(f"{name} {getattr(self, name)} must be at least {low} and below {high}.")
        if self.clusters and self.centroids:
            raise UsageError("--clusters and --centroids exclude each other: the file says how many there are.")


def default_clusters(count: int) -> int:
    """The paper's number of clusters for so many rows.

    Example:
        >>> default_clusters(2_053_332_591), default_clusters(5)
        (100002, 1)
    """
    return max(1, (2 * count + ROWS_PER_CLUSTER) // (2 * ROWS_PER_CLUSTER))


def resolved(asked: ClusterParams, parts: Parts, folder: Location) -> ClusterParams:
    """What is asked for with every automatic value decided: as recorded, else for these rows and this machine.

    Raises:
        InputError: More clusters than rows, or no rows at all.
    """
    count = parts.counts["rows"]
    if count == 0:
        raise InputError(f"{parts.folder} holds no rows: everything was quarantined; see `coreset status`.")
    asked = dataclasses.replace(asked, exclude=hash_of_list(asked.exclude))
    if asked.centroids:
        seal = files.sealed(asked.centroids)
        return dataclasses.replace(asked, centroids=f"xxh3_128:{seal.hash}", threads=0)
    clusters = asked.clusters or default_clusters(count)
    if clusters > count:
        raise InputError(f"--clusters {clusters:,} is more than the {count:,} rows; choose at most one per row.")
    recorded = (files.read_json(files.join(folder, "plan.json")) or {"params": {}})["params"]
    threads = asked.threads or recorded.get("threads") or os.cpu_count() or 1
    return dataclasses.replace(asked, clusters=clusters, threads=threads)


def recorded_params(folder: Location, exclude: Location | None) -> ClusterParams:
    """The parameters of centroids that are there, for other excluded rows."""
    said = (files.read_json(files.join(folder, "plan.json")) or {"params": {}})["params"]
    return dataclasses.replace(ClusterParams(), **{**said, "exclude": hash_of_list(exclude)})


def hash_of_list(exclude: Location | None) -> str | None:
    """What identifies an exclusion list: its bytes, not its name.

    Raises:
        InputError: There is no such file.
    """
    if not exclude:
        return None
    if files.size_of(exclude) is None:
        raise InputError(f"--exclude {exclude} does not exist.")
    return f"xxh3_128:{files.sealed(exclude).hash}"


def centroids_stage(
    folder: Location,
    parts: Parts,
    params: ClusterParams,
    given: Location | None,
    execute: Execute,
    memory: int,
    beside: int = 0,
) -> Stage:
    """Plan `centroids/`: one task that trains them, or takes the given ones.

    Args:
        folder: `centroids/`
        parts: stage 1
        params: of this stage
        given: the user's centroids
        execute: the engine
        memory: bytes of all processes together
        beside: bytes of them that the processes hold before they begin
    """

    @cache
    def last() -> OrderKey | None:
        return sample_end(parts, params, execute)

    def tasks() -> Iterator[Task]:
        part = files.join(folder, "centroids")
        if given is not None:
            given_centroids(given, dimension_of(parts))  # refused before what is there goes
            yield Task(part, write_given_centroids, (given, dimension_of(parts)))
        else:
            check_training(parts, params, memory, beside)
            yield Task(part, write_trained_centroids, (parts.locations(), trained, last()))

    trained = dataclasses.replace(params, exclude=None)  # on all rows: a longer list keeps the centroids
    return Stage(folder, trained, tasks, parts.hash, rows.receipt_of, Needs(memory, threads=params.threads))


def clusters_stage(
    folder: Location,
    parts: Parts,
    centroids: Parts,
    params: ClusterParams,
    memory: int,
    exclude: Location | None = None,
) -> Stage:
    """Plan `clusters/`: one part for about 1,000,000 rows of consecutive sources.

    Args:
        folder: `clusters/`
        parts: stage 1
        centroids: of this stage
        params: of this stage
        memory: bytes one task may use
        exclude: the list of rows that must not be used, whose hash is in the params
    """

    def tasks() -> Iterator[Task]:
        if exclude:
            read_lists(exclude)  # refused before anything is touched
        for number, group in enumerate(groups_of_parts(parts, PART_ROWS)):
            part = files.join(folder, part_number(number))
            yield Task(part, write_clusters, (tuple(group), centroids.folder, memory, exclude))

    source = clusters_source(parts, centroids)

    def size() -> int:
        return rows.vectors_size(parts.counts["rows"], int(centroids.counts["dimension"])) + parts.size()

    total = parts.counts["rows"]
    return Stage(
        folder, params, tasks, source, rows.receipt_of, Needs(memory), aside=(ASIDE,), size=size, rows=lambda: total
    )


def clusters_source(parts: Parts, centroids: Parts) -> str:
    """Identifies what `clusters/` is made from."""
    return files.fingerprint([parts.hash, centroids.hash])


def groups_of_parts(parts: Parts, limit: int) -> list[list[Location]]:
    """Consecutive parts, cut where a group has reached `limit` rows; depends on counts only."""
    groups: list[list[Location]] = [[]]
    held = 0
    for name in parts.names:
        count = parts.summaries[name]["rows"]
        if held >= limit:
            groups.append([])
            held = 0
        groups[-1].append(files.join(parts.folder, name))
        held += count
    return groups


def sample_end(parts: Parts, params: ClusterParams, execute: Execute) -> OrderKey | None:
    """The order key that ends the training sample; None if the sample is all rows."""
    count = parts.counts["rows"]
    wanted = min(count, SAMPLE_PER_CLUSTER * params.clusters)

    def look(questions: Sequence[Any]) -> Any:  # noqa: ANN401
        calls = (partial(sample_answers, where, params.seed, tuple(questions)) for where in parts.locations())
        return fold(calls, merged, execute)

    return keys_at_ranks([wanted], count, 64, look)[0]


def sample_answers(location: Location, seed: int, questions: tuple[Any, ...]) -> tuple[Any, ...]:
    """What one part answers in the search for the training sample."""
    order, key_hash, lookup, _ = sample_order(location, seed)
    ticker.add(len(order))
    return tuple(answered(question, order, key_hash, lookup) for question in questions)


def sample_order(
    location: Location, seed: int
) -> tuple[UInt64[np.ndarray, "n"], UInt64[np.ndarray, "n"], Callable[[Any], list[bytes]], pa.Table]:
    """Order keys of a part's rows by xxh3_64(key, seed), and the table they came from."""
    table = rows.read_table(location, ["key", "key_hash", "vector_row"])
    return (
        rows.key_hashes(table["key"].to_pylist(), seed),
        table["key_hash"].to_numpy(),
        rows.key_lookup(table["key"]),
        table,
    )


def check_training(parts: Parts, params: ClusterParams, memory: int, beside: int) -> None:
    """Refuse to train in less memory than it takes, beside what the processes hold; the sample never shrinks silently.

    Raises:
        ResourceError: Says how much is needed.
    """
    from coreset.numeric.kmeans import training_bytes

    sample = min(parts.counts["rows"], SAMPLE_PER_CLUSTER * params.clusters)
    needed = training_bytes(sample, params.clusters, dimension_of(parts)) + beside
    if needed > memory:
        raise ResourceError(
            f"Training {params.clusters:,} centroids on {sample:,} rows needs {needed / 2**30:.1f} GiB and --memory "
            f"allows {memory / 2**30:.1f}; raise it, lower --clusters, or give --centroids FILE."
        )


def write_trained_centroids(
    locations: Sequence[Location], params: ClusterParams, end: OrderKey | None, part: Part
) -> Summary:
    """Train on the sample, in the sample's order, and write `centroids.npy`."""
    from coreset.numeric.kmeans import train_centroids
    from coreset.numeric.nearest import rounded_centroids

    sample = training_sample(locations, params.seed, end)
    trained = train_centroids(
        sample,
        params.clusters,
        iterations=params.iterations,
        seed=params.seed,
        threads=params.threads,
        spherical=params.spherical,
    )
    return write_centroids(rounded_centroids(trained), part, sample=len(sample))


def training_sample(locations: Sequence[Location], seed: int, end: OrderKey | None) -> Float32[np.ndarray, "m d"]:
    """The rows before `end` in the order of xxh3_64(key, seed), as float32."""
    picked, orders, hashes, keys = [], [], [], []
    for location in locations:
        order, key_hash, lookup, table = sample_order(location, seed)
        inside = np.flatnonzero(between(order, key_hash, lookup, OrderKey(0, 0, b""), end))
        picked.append(table["vector_row"].to_numpy()[inside])
        orders.append(order[inside])
        hashes.append(key_hash[inside])
        keys.append(table["key"].take(pa.array(inside)))
    every = pa.chunked_array([chunk for some in keys for chunk in some.chunks], pa.string())
    index = rows_in_order(np.concatenate(orders), np.concatenate(hashes), rows.key_lookup(every))
    place = np.empty(len(index), dtype=np.int64)
    place[index] = np.arange(len(index))
    return vectors_in_order(locations, picked, place)


def vectors_in_order(
    locations: Sequence[Location], picked: Sequence[Int64[np.ndarray, "_"]], place: Int64[np.ndarray, "m"]
) -> Float32[np.ndarray, "m d"]:
    """Some vectors of each part as float32, each at its place; a block of them is held twice."""
    dimension = vectors_file(locations[0]).shape[1]
    found = np.empty((len(place), dimension), dtype=np.float32)
    step, filled = max(1, BLOCK_BYTES // (2 * dimension)), 0
    for location, wanted in zip(locations, picked, strict=True):
        vectors = vectors_file(location)
        for start in range(0, len(wanted), step):
            block = vectors[wanted[start : start + step]]
            found[place[filled : filled + len(block)]] = block
            filled += len(block)
    return found


def write_given_centroids(given: Location, dimension: int, part: Part) -> Summary:
    """Write the user's centroids, rounded, as `centroids.npy`."""
    return write_centroids(given_centroids(given, dimension), part, sample=0)


def given_centroids(given: Location, dimension: int) -> Float32[np.ndarray, "k d"]:
    """The user's centroids, rounded.

    Raises:
        InputError: The file is not float32 (k, d) of this run's dimension, not finite, or too long a vector.
    """
    from coreset.numeric.nearest import rounded_centroids

    found = rows.open_array(given)
    if found.ndim != 2 or found.dtype.kind != "f" or found.shape[1] != dimension or not len(found):
        raise InputError(
            f"{given} holds {found.dtype} {found.shape}; centroids must be floats of shape (k, {dimension}), k >= 1."
        )
    try:
        centroids = rounded_centroids(np.asarray(found, dtype=np.float32))
    except ValueError as error:
        raise InputError(f"{given} cannot be used as centroids: {error}") from error
    return centroids


def write_centroids(centroids: Float32[np.ndarray, "k d"], part: Part, sample: int) -> Summary:
    """Write `centroids.npy` and, as its commit, a table of the centroids' lengths."""
    rows.write_array(part.file(rows.VECTORS), centroids)
    lengths = np.sqrt(np.einsum("kd,kd->k", centroids, centroids, dtype=np.float64))
    schema = pa.schema([("cluster", pa.int32()), ("length", pa.float64())])
    table = rows.PartTable(part, schema)
    table.write(pa.table({"cluster": np.arange(len(centroids), dtype=np.int32), "length": lengths}, schema=schema))
    return table.close({"clusters": len(centroids), "sample": sample, "dimension": centroids.shape[1]})


def write_clusters(
    parts: Sequence[Location], centroids_folder: Location, memory: int, exclude: Location | None, part: Part
) -> Summary:
    """Assign the rows of some parts, and write them sorted by (cluster, key_hash, key), without the excluded ones."""
    from coreset.numeric.nearest import centroid_cosines, nearest_centroids

    centroids = np.asarray(rows.open_array(files.join(centroids_folder, CENTROIDS)))
    assigned, distances, cosines, vectors = [], [], [], []
    for location in parts:
        x = row_vectors(location + PARQUET)
        nearest, squared = nearest_centroids(x, centroids, memory=memory // 2)
        assigned.append(nearest)
        distances.append(np.sqrt(squared).astype(np.float32))
        cosines.append(centroid_cosines(x, centroids, nearest, memory=memory // 2))
        vectors.append(x)
        ticker.add(len(nearest))
    cluster, distance, cosine = np.concatenate(assigned), np.concatenate(distances), np.concatenate(cosines)
    keys = pa.concat_tables(rows.read_table(location + PARQUET, ["key", "key_hash"]) for location in parts)
    index = rows_in_order(cluster.astype(np.uint64), keys["key_hash"].to_numpy(), rows.key_lookup(keys["key"]))
    del keys
    listed = excluded_rows(parts, read_lists(exclude)) if exclude else [np.full(len(x), NONE, np.int8) for x in vectors]
    excluded = write_excluded(parts, listed, part)
    index = index[np.concatenate(listed)[index] == NONE]
    write_sorted_vectors(part, vectors, index)
    rows.write_array(part.file(rows.OFFSETS), cluster_offsets(cluster[index], len(centroids)))
    columns = rows.PartTable(part, rows.CLUSTERS)
    for picked, table in sorted_tables(parts, [len(x) for x in vectors], index, memory):
        added = {"cluster": cluster, "centroid_distance": distance, "centroid_cosine": cosine}
        every = dict(zip(table.column_names, table.columns, strict=True))
        columns.write(pa.table(every | {name: values[picked] for name, values in added.items()}))
    return columns.close({"rows": columns.rows, "excluded": excluded})


def sorted_tables(
    parts: Sequence[Location], counts: Sequence[int], index: Int64[np.ndarray, "n"], memory: int
) -> Iterator[tuple[Int64[np.ndarray, "_"], pa.Table]]:
    """The rows of some parts in the order of `index`, which counts through all of them, with their indices.

    As many at a time as the memory allows: each time all parts are read, so the less there is, the longer it takes.
    """
    sampled = rows.read_table(parts[0] + PARQUET, rows.ROWS.names, 0, rows.GROUP_ROWS)
    row_bytes = 4 * max(1, sampled.nbytes // max(1, sampled.num_rows))  # pieces, whole, in order, waiting
    at_once = min(PART_ROWS, max(rows.GROUP_ROWS, (memory - 4 * sampled.nbytes) // row_bytes))
    starts = np.cumsum([0, *counts])
    for start in range(0, len(index), at_once):
        picked = index[start : start + at_once]
        ascending = np.argsort(picked)
        bounds = np.searchsorted(picked[ascending], starts)
        pieces = [
            rows.chosen_rows(part + PARQUET, picked[ascending[low:high]] - first, rows.ROWS.names)
            for part, first, low, high in zip(parts, starts, bounds, bounds[1:], strict=False)
            if high > low
        ]
        place = np.empty(len(picked), dtype=np.int64)
        place[ascending] = np.arange(len(picked))
        # One chunk: taking rows from many is several times slower.
        yield picked, pa.concat_tables(pieces).combine_chunks().take(pa.array(place))


def write_sorted_vectors(
    part: Part, vectors: Sequence[np.ndarray[Any, Any] | PickedRows], index: Int64[np.ndarray, "n"]
) -> None:
    """Write rows of several vector files in the order of `index`, which counts through all of them."""
    starts = np.cumsum([0, *(len(x) for x in vectors)])
    dimension = vectors[0].shape[1]
    writer = rows.VectorsWriter(part.file(rows.VECTORS), len(index), dimension)
    step = max(1, BLOCK_BYTES // (2 * dimension))
    for start in range(0, len(index), step):
        picked = index[start : start + step]
        owner = np.searchsorted(starts, picked, side="right") - 1
        block = np.empty((len(picked), dimension), dtype=np.float16)
        for file in np.unique(owner):
            mine = owner == file
            block[mine] = vectors[file][picked[mine] - starts[file]]
        writer.write(block)
    writer.close()


def cluster_offsets(cluster: Int32[np.ndarray, "n"], clusters: int) -> Int64[np.ndarray, "k_plus_1"]:
    """Where each cluster begins among rows sorted by cluster, and their number at the end.

    Example:
        >>> cluster_offsets(np.int32([2, 0, 2]), 4)
        array([0, 1, 1, 3, 3])
    """
    return np.concatenate([[0], np.cumsum(np.bincount(cluster, minlength=clusters))])


def dimension_of(parts: Parts) -> int:
    """Length of the vectors of a stage."""
    return int(vectors_file(parts.locations()[0]).shape[1])
