"""How many near-duplicates k-means has put into different clusters, estimated on a seeded sample of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float16, Int32, Int64

from coreset import rows
from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join
from coreset.engine.local import in_process
from coreset.engine.progress import Progress, quiet, ticker
from coreset.engine.stage import PARQUET, Execute, Needs, Parts
from coreset.numeric.intervals import Interval, pairs_interval, ratio_interval, share_interval
from coreset.numeric.ranks import rows_in_order
from coreset.results.chains.deduplicated import deduplicated
from coreset.results.chains.misses import ROWS, SEED, Estimated, Missed
from coreset.slices import Slice, cluster_ranges, keys_in_order, slices_of

T = TypeVar("T")


@dataclass(frozen=True)
class Sampled:
    """The rows that are searched for.

    Attributes:
        part: the part of `clusters/` of each, by its place among the names
        row: of that part
        cluster: of each
        vectors: of each
    """

    part: Int64[np.ndarray, "m"]
    row: Int64[np.ndarray, "m"]
    cluster: Int32[np.ndarray, "m"]
    vectors: Float16[np.ndarray, "m d"]


@dataclass(frozen=True)
class Counted:
    """What some clusters say: neighbours of each sampled row there, and which sampled rows are survivors of theirs.

    Attributes:
        same: rows above the threshold in the sampled row's cluster
        other: in other clusters
        survivors: in other clusters, and survivors there
        kept: whether the sampled row is a survivor of these clusters
    """

    same: Int64[np.ndarray, "m"]
    other: Int64[np.ndarray, "m"]
    survivors: Int64[np.ndarray, "m"]
    kept: Bool[np.ndarray, "m"]

    def __add__(self, more: Counted) -> Counted:
        added = (self.same + more.same, self.other + more.other, self.survivors + more.survivors)
        return Counted(*added, self.kept | more.kept)


def missed(
    run: Location,
    count: int = ROWS,
    seed: int = SEED,
    execute: Execute = in_process,
    memory: int = 1 << 30,
    progress: Progress = quiet,
) -> Missed:
    """Estimate which pairs above the threshold k-means has put into different clusters; writes nothing.

    The rows with the smallest xxh3_64(key, seed) are searched for among all rows, exactly. The same rows, seed and
    clusters give the same numbers, with any engine and memory.

    Args:
        run: the run directory
        count: rows that are searched for; all if there are no more
        seed: of the sample
        execute: the engine
        memory: bytes that one task may use
        progress: told what is done

    Raises:
        InputError: The run has no complete `dedup/`, or its clusters have changed since.
        UsageError: Fewer rows than one.
    """
    if count < 1:
        raise UsageError(f"--rows {count} must be at least 1.")
    found = deduplicated(run)
    clusters, dedup, threshold = found.clusters, found.dedup, found.params.threshold
    every = enumerate(clusters.locations())
    calls = [partial(smallest_hashes, where, number, seed, count) for number, where in every]
    drawn = _sum(calls, partial(smallest, count=count), execute, memory, progress, "draw rows")
    sampled = with_vectors(clusters, drawn)
    ranges = list(cluster_ranges(clusters))
    given = (clusters.folder, clusters.names)
    searches = [
        partial(range_counted, given, clustered, where, sampled, threshold, memory)
        for clustered, where in zip(ranges, dedup.locations(), strict=True)
    ]
    counted = _sum(searches, Counted.__add__, execute, memory, progress, "search rows")
    count_of_clusters = len(rows.open_array(clusters.locations(rows.OFFSETS)[0])) - 1
    return estimated(counted, threshold, count_of_clusters, dedup.counts, seed)


def _sum(
    calls: Sequence[Callable[[], T]],
    add: Callable[[T, T], T],
    execute: Execute,
    memory: int,
    progress: Progress,
    title: str,
) -> T:
    """What some calls give, together; there is at least one."""
    progress.start(title, len(calls), 0)
    total: T | None = None
    for one in execute(calls, Needs(memory)):
        total = one if total is None else add(total, one)
        progress.advance({})
    assert total is not None  # noqa: S101  a complete stage has a part
    return total


def smallest_hashes(location: Location, number: int, seed: int, count: int) -> pa.Table:
    """The rows of a part of `clusters/` with the smallest xxh3_64(key, seed), in this order."""
    table = rows.read_table(location, ["key", "key_hash", "cluster"])
    order = rows.key_hashes(table["key"].to_pylist(), seed)
    few = np.flatnonzero(order <= np.partition(order, count - 1)[count - 1]) if len(order) > count else slice(None)
    picked = np.arange(len(order))[few]
    table = table.take(pa.array(picked)).append_column("order", [order[picked]]).append_column("row", [picked])
    return smallest(table.append_column("part", [np.full(len(picked), number)]), None, count=count)


def smallest(one: pa.Table, other: pa.Table | None, *, count: int) -> pa.Table:
    """The first rows of one or two tables by (order, key_hash, key)."""
    every = pa.concat_tables([one] if other is None else [one, other]).combine_chunks()
    ranked = rows_in_order(every["order"].to_numpy(), every["key_hash"].to_numpy(), rows.key_lookup(every["key"]))
    return every.take(pa.array(ranked[:count]))


def with_vectors(clusters: Parts, drawn: pa.Table) -> Sampled:
    """The rows that were drawn, with their vectors."""
    part, row = drawn["part"].to_numpy(), drawn["row"].to_numpy()
    found: list[np.ndarray] = [np.empty(0, np.float16)] * len(part)
    for number in np.unique(part):
        mine = np.flatnonzero(part == number)
        block = rows.open_vectors(clusters.locations()[number])[row[mine]]
        for at, vector in zip(mine, block, strict=True):
            found[at] = vector
    return Sampled(part, row, drawn["cluster"].to_numpy(), np.stack(found))


def range_counted(
    given: tuple[Location, Sequence[str]],
    clustered: tuple[int, int],
    dedup: Location,
    sampled: Sampled,
    threshold: float,
    memory: int,
) -> Counted:
    """The neighbours of the sampled rows in consecutive clusters, and which sampled rows survive there."""
    from coreset.numeric.neighbours import Queried, neighbours_counted

    folder, names = given
    slices = slices_of(folder, names, clustered)
    index = keys_in_order(slices)[2]
    kept = np.empty(len(index), np.bool_)
    kept[index] = rows.read_table(dedup, ["kept"])["kept"].to_numpy()
    numbers = np.arange(*clustered, dtype=np.int32)
    cluster = np.concatenate([np.repeat(numbers, np.diff(piece.offsets)) for piece in slices])
    held = rows.held_ranges([(piece.part + PARQUET, piece.start, piece.stop) for piece in slices])
    places = [(x, piece.start - first, piece.stop - first) for (x, first), piece in zip(held, slices, strict=True)]
    vectors = rows.VectorSlices(places, sampled.vectors.shape[1])
    own = places_of(sampled, slices, [join(folder, name) for name in names])
    queries = Queried(sampled.vectors, sampled.cluster, own)
    found = neighbours_counted(queries, vectors, cluster, kept, threshold, memory=memory)
    ticker.add(len(index))
    return Counted(found.same, found.other, found.survivors, (own >= 0) & kept[own])


def places_of(sampled: Sampled, slices: Sequence[Slice], parts: Sequence[Location]) -> Int64[np.ndarray, "m"]:
    """The place of each sampled row among the rows of some slices, one after the other; -1 if it is in none."""
    place, start = np.full(len(sampled.row), -1), 0
    for piece in slices:
        number = parts.index(piece.part)
        mine = (sampled.part == number) & (sampled.row >= piece.start) & (sampled.row < piece.stop)
        place[mine] = start + sampled.row[mine] - piece.start
        start += piece.stop - piece.start
    return place


def estimated(found: Counted, threshold: float, clusters: int, counts: Mapping[str, int], seed: int) -> Missed:
    """What the sampled rows say of all."""
    total, survivors = counts["rows"], counts["kept"]
    sampled, hits, kept = len(found.other), int(np.count_nonzero(found.other)), found.survivors[found.kept]
    surviving = int(np.count_nonzero(kept))
    of_pairs = ratio_interval(found.other, found.other + found.same, total)
    return Missed(
        threshold,
        clusters,
        total,
        survivors,
        seed,
        sampled,
        hits,
        len(kept),
        surviving,
        said(share_interval(hits, sampled, total)),
        said(pairs_interval(found.other, total)),
        None if of_pairs is None else said(of_pairs),
        said(share_interval(surviving, len(kept), survivors)) if len(kept) else None,
        said(pairs_interval(kept, survivors)) if len(kept) else None,
    )


def said(interval: Interval) -> Estimated:
    """An interval as it is said."""
    return Estimated(*interval)
