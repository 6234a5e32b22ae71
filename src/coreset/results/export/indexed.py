"""What formats share that copy no picture: parts of many rows, whose Parquet files say more than their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from coreset import rows
from coreset.engine.files import Location
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import CONTENTS, Entry, summary_of
from coreset.results.export.format import MOST_ROWS, ExportParams

NOTHING = pa.schema([])
"""No further columns."""


@dataclass(frozen=True, kw_only=True)
class IndexParams(ExportParams):
    """Parameters of formats that copy no picture."""

    @property
    def part_rows(self) -> int:
        """As many as a part may have: rows without pictures are small."""
        return MOST_ROWS


def close_index(
    part: Part,
    entries: Sequence[Entry],
    schema: pa.Schema,
    columns: Mapping[str, Any],
    counts: Mapping[str, int] = MappingProxyType({}),
    **metadata: str,
) -> Summary:
    """Write the part's Parquet: its contents, and further columns for the file that holds all parts.

    Args:
        part: under way; its side files are closed
        entries: what became of each row
        schema: of the further columns
        columns: their values, one for each entry
        counts: further counts of the part
        metadata: further texts in the Parquet's footer
    """
    table = rows.PartTable(part, pa.schema([*CONTENTS, *schema]))
    contents = {name: [getattr(entry, name) for entry in entries] for name in CONTENTS.names}
    table.write(pa.table({**contents, **columns}, schema=pa.schema([*CONTENTS, *schema])))
    return table.close(summary_of(entries) | dict(counts), **metadata)


def metadata_of_parts(parts: Sequence[Location], name: str) -> list[str]:
    """A text from the footer of each part."""
    return [rows.metadata_of(location)[name] for location in parts]
