"""The components that the report shows: their members, from the kept one to the least alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from coreset import rows
from coreset.engine.files import Location, is_remote, local_path
from coreset.results.report.passed import COLUMNS

MEMBERS = 12
"""Rows of a component that are shown."""


@dataclass(frozen=True)
class Component:
    """A component of which some rows are shown.

    Attributes:
        kept_key: the row that is kept
        cluster: in which it lies
        size: rows
        smallest: the smallest cosine of a row to the kept one
        below: rows whose cosine to the kept one is not above the threshold: a chain joined them
        weakest: the weakest link of its spanning tree; None of a component that is too large to be compared again
        rows: some of them, as `passed.COLUMNS`; the kept one first, then from the most to the least alike
    """

    kept_key: str
    cluster: int
    size: int
    smallest: float
    below: int
    weakest: float | None
    rows: tuple[dict[str, Any], ...]


def components_shown(
    dedup: Sequence[Location], chosen: Sequence[tuple[str, int]], threshold: float, weakest: Mapping[str, float | None]
) -> list[Component]:
    """Components with some of their members.

    Args:
        dedup: the parts of `dedup/`; only row groups that hold one of the clusters are read
        chosen: `kept_key` and cluster of each component
        threshold: of dedup
        weakest: weakest links by `kept_key`
    """
    if not chosen:
        return []
    kept = [key for key, _ in chosen]
    light = _members(dedup, chosen, "kept_key", kept, ("key", "key_hash", "kept_key", "kept_cosine"))
    order = [("kept_cosine", "descending"), ("key_hash", "ascending"), ("key", "ascending")]
    found, wanted = {}, {}
    for key, _ in chosen:
        own = light.filter(pc.equal(light["kept_key"], key))
        own = own.take(pc.sort_indices(own, sort_keys=order))
        others = own.filter(pc.not_equal(own["key"], key))
        found[key] = others["kept_cosine"].to_numpy().astype(np.float64)
        wanted[key] = [key, *others["key"].take(pa.array(spread(others.num_rows, MEMBERS - 1))).to_pylist()]
    every = [member for members in wanted.values() for member in members]
    whole = {row["key"]: row for row in _members(dedup, chosen, "key", every, COLUMNS).to_pylist()}
    return [
        Component(
            key,
            cluster,
            len(found[key]) + 1,
            float(found[key].min()),
            int(np.count_nonzero(found[key] <= threshold)),
            weakest.get(key),
            tuple(whole[member] for member in wanted[key]),
        )
        for key, cluster in chosen
    ]


def kept_rows(dedup: Sequence[Location], duplicates: pa.Table | None) -> dict[str, dict[str, Any]]:
    """The rows that stand for some duplicates, by key."""
    if duplicates is None or not duplicates.num_rows:
        return {}
    keys = duplicates["kept_key"].to_pylist()
    chosen = list(zip(keys, duplicates["cluster"].to_pylist(), strict=True))
    found = {row["key"]: row for row in _members(dedup, chosen, "key", keys, COLUMNS).to_pylist()}
    return {key: found[key] for key in dict.fromkeys(keys)}


def spread(count: int, most: int) -> list[int]:
    """Places of at most so many of a number of things in order, first and last among them, evenly apart.

    Example:
        >>> spread(3, 5), spread(100, 4)
        ([0, 1, 2], [0, 33, 66, 99])
    """
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]


def _members(
    dedup: Sequence[Location],
    chosen: Sequence[tuple[str, int]],
    column: str,
    values: Sequence[str],
    columns: Sequence[str],
) -> pa.Table:
    """Rows of some clusters with certain values in a column of text."""
    numbers, texts = pa.array(sorted({cluster for _, cluster in chosen}), pa.int32()), pa.array(values, pa.string())
    try:
        if dedup and is_remote(dedup[0]):
            return _remote_members(dedup, numbers, column, texts, columns)
        parts = ds.dataset([str(local_path(location)) for location in dedup], format="parquet")
        wanted = ds.field("cluster").isin(numbers) & ds.field(column).isin(texts)
        return parts.to_table(list(columns), filter=wanted, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise rows.damaged(dedup[0], error) from error


def _remote_members(
    dedup: Sequence[Location], numbers: pa.Array, column: str, texts: pa.Array, columns: Sequence[str]
) -> pa.Table:
    """The same from objects, a batch at a time; parts without one of the clusters are not gone through."""
    pieces = []
    for location in dedup:
        held = rows.read_table(location, ["cluster"])["cluster"]
        if not pc.any(pc.is_in(held, value_set=numbers)).as_py():
            continue
        for table in rows.table_batches(location, list(dict.fromkeys([*columns, column, "cluster"])), rows.BATCH_ROWS):
            wanted = pc.and_(pc.is_in(table["cluster"], value_set=numbers), pc.is_in(table[column], value_set=texts))
            pieces.append(table.filter(wanted).select(list(columns)))
    if pieces:
        return pa.concat_tables(pieces)
    return rows.DEDUP.empty_table().select(list(columns))
