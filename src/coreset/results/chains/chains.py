"""Which components are stretched: their smallest cosine to the row that stands for them, and their weakest link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from coreset import rows
from coreset.dedup import DedupParams, read_forests
from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join
from coreset.engine.local import in_process
from coreset.engine.stage import PARQUET, Execute, Needs, Parts, fold, open_parts
from coreset.results.chains.deduplicated import Deduplicated, deduplicated
from coreset.results.chains.stretched import Chains, Level, StretchedComponent
from coreset.slices import cluster_ranges, clusters_of, keys_in_order, slices_of

LEVELS = 10
STEP = 0.05
LARGEST = 1 << 17
"""Rows of a component whose weakest link is looked for among its vectors: in more it would take minutes."""
GROUPED = ("cluster", "kept_key")
ORDERS = {
    "farthest": [("kept_cosine", "ascending"), ("cluster", "ascending"), ("kept_key", "ascending")],
    "largest": [("component_size", "descending"), ("cluster", "ascending"), ("kept_key", "ascending")],
}


@dataclass(frozen=True)
class Stretched:
    """What some parts of `dedup/` say; the sum of two is what both say.

    Attributes:
        most: components that are named in each list
        counts: components of two rows or more, and those at each level
        rows: in these
        farthest: a component a row, the most stretched first
        largest: likewise, the largest first
    """

    most: int
    counts: Int64[np.ndarray, "levels"]
    rows: Int64[np.ndarray, "levels"]
    farthest: pa.Table
    largest: pa.Table

    def __add__(self, more: Stretched) -> Stretched:
        lists = [
            first(pa.concat_tables([getattr(self, name), getattr(more, name)]), name, self.most) for name in ORDERS
        ]
        return Stretched(self.most, self.counts + more.counts, self.rows + more.rows, *lists)


def chains(run: Location, n: int = 20, execute: Execute = in_process, memory: int = 1 << 30) -> Chains:
    """How far the components of a run are stretched; writes nothing.

    `dedup/` is read once, and vectors only of the components that are named.

    Args:
        run: the run directory
        n: how many of the most stretched components are named, and how many of the largest
        execute: the engine
        memory: bytes that one task may use

    Raises:
        InputError: The run has no complete `dedup/`, or its clusters have changed since.
        UsageError: n is below 1.
    """
    if n < 1:
        raise UsageError(f"n = {n} must be at least 1.")
    found = deduplicated(run.rstrip("/"))
    levels = levels_below(found.params.threshold)
    calls = (partial(part_stretched, where, levels, n) for where in found.dedup.locations())
    told = fold(calls, Stretched.__add__, execute, Needs(memory)) or stretched(components_of([]), levels, n)
    names = [names_of(table) for table in (told.farthest, told.largest)]
    named = named_components(found, [*names[0], *names[1]], execute, memory)
    lists = ([named[one] for one in some] for some in names)
    farthest, largest = map(tuple, lists)
    counts = zip(levels, told.counts[1:].tolist(), told.rows[1:].tolist(), strict=True)
    sums = (int(told.counts[0]), int(told.rows[0]), tuple(Level(*one) for one in counts))
    return Chains(found.params.threshold, found.params.min_kept_cosine, *sums, farthest, largest)


def named_components(
    found: Deduplicated, names: Sequence[tuple[int, str]], execute: Execute = in_process, memory: int = 1 << 30
) -> dict[tuple[int, str], StretchedComponent]:
    """Some components of two rows or more with their weakest links, by cluster and kept key.

    Args:
        found: stages 2 and 3 of the run
        names: cluster and kept key of each
        execute: the engine
        memory: bytes that one task may use
    """
    return fold(chain_calls(found, names, memory), dict.__or__, execute, Needs(memory)) or {}


def levels_below(threshold: float) -> list[float]:
    """The threshold and what lies below it in steps, above 0.

    Example:
        >>> levels_below(0.12)
        [0.12, 0.07, 0.02]
    """
    steps = (round(threshold - STEP * number, 9) for number in range(1, LEVELS))
    return [threshold, *(level for level in steps if level > 0)]


def part_stretched(location: Location, levels: Sequence[float], n: int) -> Stretched:
    """What a part of `dedup/` says; it holds whole clusters."""
    batches = rows.table_batches(location, [*GROUPED, "component_size", "kept_cosine"], rows.BATCH_ROWS)
    return stretched(components_of(batches), levels, n)


def components_of(batches: Iterable[pa.Table]) -> pa.Table:
    """The components of two rows or more, one a row: cluster, kept_key, component_size, smallest kept_cosine."""
    names = ["component_size", "kept_cosine"]
    columns = [rows.DEDUP.field(name) for name in (*GROUPED, *names)]
    found = [pa.schema(columns).empty_table()]
    for batch in batches:
        several = batch.filter(pc.greater(batch["component_size"], 1))
        found.append(smallest_cosines(several).select([field.name for field in columns]))
    return smallest_cosines(pa.concat_tables(found))


def smallest_cosines(table: pa.Table) -> pa.Table:
    """One row for each component, with its smallest cosine."""
    grouped = table.group_by(list(GROUPED)).aggregate([("component_size", "max"), ("kept_cosine", "min")])
    grouped = grouped.select([*GROUPED, "component_size_max", "kept_cosine_min"])
    return grouped.rename_columns([*GROUPED, "component_size", "kept_cosine"])


def stretched(table: pa.Table, levels: Sequence[float], n: int) -> Stretched:
    """What some components say, one a row."""
    cosine, size = table["kept_cosine"].to_numpy(), table["component_size"].to_numpy().astype(np.int64)
    within = [np.ones(len(cosine), np.bool_), *(cosine <= level for level in levels)]
    counts, sums = ([int(of(which)) for which in within] for of in (np.count_nonzero, lambda which: size[which].sum()))
    return Stretched(n, np.array(counts), np.array(sums), *(first(table, name, n) for name in ORDERS))


def first(table: pa.Table, order: str, n: int) -> pa.Table:
    """The first components in an order."""
    return table.take(pc.sort_indices(table, sort_keys=ORDERS[order])).slice(0, n)


def names_of(table: pa.Table) -> list[tuple[int, str]]:
    """What tells components apart: the cluster and the kept key."""
    return list(zip(table["cluster"].to_pylist(), table["kept_key"].to_pylist(), strict=True))


def chain_calls(found: Deduplicated, names: Sequence[tuple[int, str]], memory: int) -> Iterator[partial[Any]]:
    """One call for each cluster that has a component that is named."""
    wanted: dict[int, list[str]] = {}
    for cluster, key in dict.fromkeys(names):
        wanted.setdefault(cluster, []).append(key)
    forest = open_parts(join(found.run, "forest"))
    if not forest or forest.source != found.clusters.hash or forest.facts["floor"] > found.params.threshold:
        forest = None
    ranges = list(cluster_ranges(found.clusters))
    for cluster, keys in sorted(wanted.items()):
        number = next(at for at, (start, stop) in enumerate(ranges) if start <= cluster < stop)
        edges = None
        if forest and not found.params.min_kept_cosine:  # with a bound, components are not those of the graph
            edges = forest.locations()[number]
        yield partial(
            cluster_chains,
            found.clusters,
            found.dedup.locations()[number],
            ranges[number],
            cluster,
            keys,
            edges,
            found.params,
            memory,
        )


def cluster_chains(
    clusters: Parts,
    location: Location,
    clustered: tuple[int, int],
    cluster: int,
    kept_keys: Sequence[str],
    edges: Location | None,
    params: DedupParams,
    memory: int,
) -> dict[tuple[int, str], StretchedComponent]:
    """Some components of a cluster, with their weakest links."""
    before = slices_of(clusters.folder, clusters.names, (clustered[0], cluster))
    slices = slices_of(clusters.folder, clusters.names, (cluster, cluster + 1))
    start = sum(piece.stop - piece.start for piece in before)
    dimension = rows.open_vectors(slices[0].part + PARQUET).shape[1]
    vectors, at = next(clusters_of(slices, keys_in_order(slices)[2], dimension))
    table = rows.read_table(location, ["key", "kept_key", "kept_cosine"], start, start + len(at))
    forest = read_forests(edges, clustered)[cluster - clustered[0]] if edges else None
    found = {}
    for kept_key in kept_keys:
        members = np.flatnonzero(pc.equal(table["kept_key"], kept_key).to_numpy())
        cosine = table["kept_cosine"].to_numpy()[members]
        link = weakest_link(vectors, at, members, forest, params.min_kept_cosine or params.threshold, memory)
        farthest = int(members[cosine.argmin()])
        ends = None if link is None else (table["key"][link[0]].as_py(), table["key"][link[1]].as_py())
        found[cluster, kept_key] = StretchedComponent(
            cluster,
            kept_key,
            len(members),
            float(cosine.min()),
            table["key"][farthest].as_py(),
            None if link is None else link[2],
            ends,
        )
    return found


def weakest_link(
    vectors: Any,  # noqa: ANN401  numeric.blocks.RowBlocks, which imports torch
    at: Int64[np.ndarray, "n"],
    members: Int64[np.ndarray, "m"],
    forest: Any,  # noqa: ANN401  numeric.forest.Forest | None, which imports torch
    floor: float,
    memory: int,
) -> tuple[int, int, float] | None:
    """The weakest edge on the maximum spanning tree of a component: places of its ends, and its cosine.

    Args:
        vectors: of the cluster
        at: the place of each of them in (key_hash, key) order
        members: places of the component's rows, ascending
        forest: of the cluster, if there is one
        floor: a cosine above which the members are connected
        memory: bytes that may be used
    """
    from coreset.numeric.bounded import SomeRows
    from coreset.numeric.forest import spanning_forest

    if forest is not None:
        inside = np.flatnonzero(np.isin(forest.u, members) & np.isin(forest.v, members) & (forest.cosine > floor))
        last = inside[-1]  # heaviest first
        return int(forest.u[last]), int(forest.v[last]), float(forest.cosine[last])
    if len(members) > LARGEST:
        return None
    own = np.flatnonzero(np.isin(at, members))
    tree = spanning_forest(SomeRows(vectors, own), floor, np.searchsorted(members, at[own]), memory=memory)
    return int(members[tree.u[-1]]), int(members[tree.v[-1]]), float(tree.cosine[-1])
