"""`keys`: the keys of the chosen rows of each tar, for whoever reads the tars in a way of his own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coreset import rows
from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join, write_bytes
from coreset.engine.outgoing import outgoing
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry
from coreset.results.export.format import ChosenRows, Finished, Format
from coreset.results.export.indexed import IndexParams, close_index
from coreset.results.in_place.meant import has_prefixed_keys

TABLE, FOLDER = "keys.parquet", "keys"
LISTS = ("parquet", "text")
PLACE = pa.schema([rows.CORESET.field(name) for name in ("source", "source_row")])
KEYS = pa.schema([*PLACE, pa.field("source_key", pa.string()), pa.field("key", pa.string())])
PASS_ROWS = 1 << 21
"""Rows of so many sources at a time are sorted in memory."""


@dataclass(frozen=True, kw_only=True)
class KeysParams(IndexParams):
    """Parameters of `keys`."""

    stage: ClassVar[str] = "export-keys"

    lists: str = field(
        default="parquet",
        metadata={"help": "parquet: one table, sorted by source; text: a file for each source, a key a line"},
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        if self.lists not in LISTS:
            raise UsageError(f"--lists {self.lists} is not known; choose one of {', '.join(LISTS)}.")


def write_part(chosen: ChosenRows, params: KeysParams, part: Part) -> Summary:  # noqa: ARG001  see `Format.write`
    """Write the keys of one part with their places."""
    table = chosen.table()
    entries = [
        Entry(key, caption=caption)
        for key, caption in zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True)
    ]
    return close_index(part, entries, PLACE, {name: table[name] for name in PLACE.names})


def finish(done: Finished[KeysParams]) -> list[str]:
    """Write the table, or a list for each source."""
    tables = sorted_tables(done.parts, has_prefixed_keys(done.run))
    return write_lists(done.out, tables) if done.params.lists == "text" else write_table(done.out, tables)


def write_table(out: Location, tables: Iterator[pa.Table]) -> list[str]:
    """Write one Parquet."""
    file = outgoing(join(out, TABLE))
    try:
        writer = rows.TableWriter(file, KEYS)
        for table in tables:
            writer.write(table)
        writer.close({})
        file.commit()
    finally:
        file.discard()
    return [TABLE]


def write_lists(out: Location, tables: Iterator[pa.Table]) -> list[str]:
    """Write a text for each source: keys as the tar has them, in its order."""
    names = []
    for table in tables:
        source = table["source"].to_pylist()
        keys = table["source_key"].to_pylist()
        ends = [at for at in range(1, len(source)) if source[at] != source[at - 1]]
        for start, stop in zip([0, *ends], [*ends, len(source)], strict=True):
            names.append(f"{FOLDER}/{source[start]}.txt")
            write_bytes(join(out, names[-1]), "".join(f"{key}\n" for key in keys[start:stop]).encode())
    return names


def sorted_tables(parts: Sequence[Location], is_prefixed: bool) -> Iterator[pa.Table]:
    """The rows of all parts by source and place; a few sources' rows at a time, all of a source together."""
    for sources in source_groups(parts):
        wanted = pa.array(sources, pa.string())
        found = []
        for location in parts:
            table = rows.read_table(location, ["key", *PLACE.names])
            found.append(table.filter(pc.is_in(table["source"], wanted)))
        table = pa.concat_tables(found).sort_by([("source", "ascending"), ("source_row", "ascending")])
        keys = table["key"].to_pylist()
        if is_prefixed:
            names = table["source"].to_pylist()
            keys = [key.removeprefix(f"{source}/") for key, source in zip(keys, names, strict=True)]
        yield table.append_column("source_key", pa.array(keys, pa.string())).select(KEYS.names)


def source_groups(parts: Sequence[Location]) -> Iterator[list[str]]:
    """The sources of all rows in order, in groups of about `PASS_ROWS` rows."""
    counts: dict[str, int] = {}
    for location in parts:
        for entry in pc.value_counts(rows.read_table(location, ["source"])["source"]).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    names = sorted(counts, key=str.encode)
    groups = np.cumsum([counts[name] for name in names]) // PASS_ROWS
    for group in np.unique(groups):
        yield [names[index] for index in np.flatnonzero(groups == group)]


FORMAT = Format(
    "keys",
    "the keys of each tar's chosen rows, as Parquet or text",
    KeysParams,
    write_part,
    (TABLE, FOLDER),
    finish,
    has_pictures=False,
)
