"""What an export says of its rows, in the Parquet that commits each part: the base of `coreset verify OUT`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import xxhash

from coreset import rows
from coreset.engine.files import Location
from coreset.engine.stage import Part, Summary
from coreset.rows import Column

CONTENTS_COLUMNS = (
    Column("key", pa.string(), "of the row"),
    Column("excluded", pa.string(), "why the row is not written; null if it is"),
    Column("file", pa.string(), "the file in the export that holds its picture"),
    Column("name", pa.string(), "of the picture, without ending, as trainers see it"),
    Column("kind", pa.string(), "what the picture's bytes are: jpg, png, webp, gif or bmp"),
    Column("bytes", pa.int64(), "of the picture as written"),
    Column("hash", pa.string(), "xxh3_128 of the picture as written"),
    Column("transcoded", pa.bool_(), "whether the picture was made a JPEG; if not, its bytes are the source's"),
    Column("caption", pa.string(), "as written"),
    Column("neutralised", pa.int64(), "markers of models that were spaced out in the caption"),
)
CONTENTS = rows.schema(CONTENTS_COLUMNS)


@dataclass(frozen=True)
class Entry:
    """What became of one chosen row."""

    key: str
    excluded: str | None = None
    file: str | None = None
    name: str | None = None
    kind: str | None = None
    bytes: int | None = None
    hash: str | None = None
    transcoded: bool | None = None
    caption: str | None = None
    neutralised: int | None = None


def picture_hash(content: bytes) -> str:
    """The hash by which a written picture is known again."""
    return xxhash.xxh3_128_hexdigest(content)


def close_contents(part: Part, entries: Sequence[Entry]) -> Summary:
    """Write the part's Parquet with its receipt; returns the summary of what became of the rows."""
    table = rows.PartTable(part, CONTENTS)
    columns = {name: [getattr(entry, name) for entry in entries] for name in CONTENTS.names}
    table.write(pa.table(columns, schema=CONTENTS))
    return table.close(summary_of(entries))


def summary_of(entries: Sequence[Entry]) -> Summary:
    """Counts of what became of some rows: `chosen` is `written` and every `excluded_REASON`.

    Example:
        >>> summary_of([Entry("a", excluded="no_caption"), Entry("b", kind="png", bytes=9)])["written"]
        1
    """
    written = [entry for entry in entries if entry.excluded is None]
    summary = {"rows": len(entries), "chosen": len(entries), "written": len(written)}
    for entry in entries:
        if entry.excluded is not None:
            name = f"excluded_{entry.excluded}"
            summary[name] = summary.get(name, 0) + 1
    summary["bytes"] = sum(entry.bytes or 0 for entry in written)
    summary["transcoded"] = sum(bool(entry.transcoded) for entry in written)
    summary["neutralised"] = sum(bool(entry.neutralised) for entry in written)
    for kind in sorted({entry.kind for entry in written if entry.kind}):
        summary[kind] = sum(entry.kind == kind for entry in written)
    return summary


def written_entries(parts: Sequence[Location]) -> Iterator[Entry]:
    """The rows that were written, in order; a batch of them in memory at a time."""
    for location in parts:
        for table in rows.table_batches(location, CONTENTS.names, rows.BATCH_ROWS):
            for row in table.to_pylist():
                if row["excluded"] is None:
                    yield Entry(**row)
