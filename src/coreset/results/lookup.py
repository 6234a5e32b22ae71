"""Finding rows of a run by their keys: the hashes of the keys are streamed, and only what they point to is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt64

from coreset import rows
from coreset.engine.disk import TEMPORARY
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, names_in
from coreset.engine.stage import Parts
from coreset.results.fate import BATCH_ROWS, Judged, excluded_files, with_fate
from coreset.sample import ORDER_COLUMNS


@dataclass(frozen=True)
class Place:
    """Where a row stands, and the rows of its cluster around it.

    Attributes:
        location: a part of `dedup/`
        row: in the part
        cluster: index of the cluster
        start: the first row of the cluster in the part
        stop: one past the last one
    """

    location: Location
    row: int
    cluster: int
    start: int
    stop: int


def found_places(dedup: Parts, keys: Sequence[str]) -> dict[str, Place]:
    """Where the rows with some keys stand in `dedup/`; keys that are none of them are left out.

    The column of the keys' hashes is streamed; of a row group whose least and greatest hash leave out all that are
    looked for, not even that.
    """
    found: dict[str, Place] = {}
    for location in dedup.locations():
        for row, key in rows_with_keys(location, keys):
            found[key] = _place(location, row)
    return found


def rows_with_keys(location: Location, keys: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The rows of a Parquet with `key` and `key_hash` that have one of some keys."""
    wanted, hashes = set(keys), np.unique(rows.key_hashes(sorted(set(keys))))
    for start, stop in groups_with(location, hashes):
        column = rows.read_table(location, ["key_hash"], start, stop)["key_hash"].to_numpy()
        for row in (np.flatnonzero(np.isin(column, hashes)) + start).tolist():
            key = rows.read_table(location, ["key"], row, row + 1)["key"][0].as_py()
            if key in wanted:
                yield row, key


def groups_with(location: Location, hashes: UInt64[np.ndarray, "h"]) -> Iterator[tuple[int, int]]:
    """First and end row of the row groups that may hold one of some hashes, by their statistics."""
    try:
        with rows.opened_parquet(location) as file:
            metadata = file.metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise rows.damaged(location, error) from error
    starts = rows.group_starts(metadata)
    column = [metadata.schema.column(i).name for i in range(len(metadata.schema))].index("key_hash")
    for group in range(metadata.num_row_groups):
        said = metadata.row_group(group).column(column).statistics
        low, high = (said.min, said.max) if said is not None and said.has_min_max else (0, 2**64 - 1)
        if np.searchsorted(hashes, np.uint64(low)) < np.searchsorted(hashes, np.uint64(high), side="right"):
            yield starts[group], starts[group + 1]


def _place(location: Location, row: int) -> Place:
    cluster = rows.read_table(location, ["cluster"])["cluster"].to_numpy()
    start, stop = (int(np.searchsorted(cluster, cluster[row], side=side)) for side in ("left", "right"))
    return Place(location, row, int(cluster[row]), start, stop)


def place_of(by: Judged, key: str) -> Place:
    """Where the row with a key stands in `dedup/`.

    Raises:
        InputError: There is none.
    """
    found = found_places(by.dedup, [key])
    if key not in found:
        raise InputError(f"{key} is no key of a row in {by.run}/dedup; see `coreset explain KEY`.")
    return found[key]


def excluded_rows(by: Judged, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows with some keys that a list excludes."""
    return {
        key: rows.read_table(location, None, row, row + 1).to_pylist()[0]
        for location in excluded_files(by.run)
        for row, key in rows_with_keys(location, keys)
    }


def quarantined_samples(by: Judged, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The quarantined samples with some keys, named as `KEY` or `SOURCE/KEY`; one key may stand for several."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in quarantine_tables(by.run):
        whole = pc.binary_join_element_wise(table["source"], table["key"], "/")
        for name, key in ((name, pa.array(keys, pa.string())) for name in (table["key"], whole)):
            hits = table.append_column("name", name).filter(pc.is_in(name, key))
            for entry in hits.to_pylist():
                found.setdefault(entry.pop("name"), []).append(entry)
    return found


def quarantine_tables(run: Location) -> Iterator[pa.Table]:
    """What was quarantined of a run, in pieces."""
    folder = join(run, "quarantine")
    for name in names_in(folder):
        if name.endswith(".parquet") and TEMPORARY not in name:
            yield from rows.table_batches(join(folder, name), rows.QUARANTINE.names, BATCH_ROWS)


def component_places(place: Place) -> Int64[np.ndarray, "m"]:
    """The rows of a part that stand for the same component as a row: those with its `kept_key`, ascending."""
    kept_key = rows.read_table(place.location, ["kept_key"], place.row, place.row + 1)["kept_key"][0]
    found = [np.empty(0, np.int64)]
    for start in range(place.start, place.stop, BATCH_ROWS):
        stop = min(start + BATCH_ROWS, place.stop)
        column = rows.read_table(place.location, ["kept_key"], start, stop)["kept_key"]
        found.append(start + np.flatnonzero(pc.equal(column, kept_key).to_numpy()))
    return np.concatenate(found)


def rows_at(by: Judged, place: Place, wanted: Int64[np.ndarray, "m"], columns: Sequence[str]) -> pa.Table:
    """Some rows of a cluster with their fates.

    Args:
        by: what decides the fates
        place: of any row of the cluster
        wanted: rows of the part, ascending
        columns: of `dedup/`
    """
    if by.params.rank_scope == "cluster":
        whole = rows.read_table(place.location, ORDER_COLUMNS, place.start, place.stop)
        fate = with_fate(by, whole)["fate"].take(pa.array(wanted - place.start))
        return _picked(place.location, wanted, columns).append_column("fate", fate)
    every = list(dict.fromkeys([*columns, *ORDER_COLUMNS]))
    return with_fate(by, _picked(place.location, wanted, every)).select([*columns, "fate"])


def _picked(location: Location, wanted: Int64[np.ndarray, "m"], columns: Sequence[str]) -> pa.Table:
    """Some rows of a part; only the row groups that have some of them are read."""
    starts = np.arange(0, int(wanted[-1]) + rows.GROUP_ROWS + 1, rows.GROUP_ROWS)
    bounds = np.searchsorted(wanted, starts)
    pieces = []
    for start, low, high in zip(starts[:-1].tolist(), bounds[:-1], bounds[1:], strict=True):
        if low < high:
            group = rows.read_table(location, columns, start, start + rows.GROUP_ROWS)
            pieces.append(group.take(pa.array(wanted[low:high] - start)))
    return pa.concat_tables(pieces)
