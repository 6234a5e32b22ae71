"""What formats share that keep each picture in a file of its own, and the pairs in a list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join, read_lines
from coreset.engine.outgoing import outgoing
from coreset.engine.progress import ticker
from coreset.engine.stage import Part
from coreset.results.export.captions import is_empty, neutralised
from coreset.results.export.contents import Entry, picture_hash
from coreset.results.export.format import ChosenRows, ExportParams, check_part_rows
from coreset.results.export.pictures import as_written, pictures_of, sources_of
from coreset.sources.names import name_of

IMAGES = "images"


@dataclass(frozen=True, kw_only=True)
class FolderParams(ExportParams):
    """Parameters of formats that spread their pictures over numbered folders."""

    images_per_dir: int = field(default=10_000, metadata={"help": "rows whose pictures lie in one folder"})
    jpeg: bool = field(
        default=False, metadata={"help": "turn pictures that are no JPEG into one; without it all bytes stay"}
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_part_rows("--images-per-dir", self.images_per_dir)

    @property
    def part_rows(self) -> int:
        """One folder is one part."""
        return self.images_per_dir


def numbered(number: int) -> str:
    """The folder of a part's pictures.

    Example:
        >>> numbered(12)
        'images/0012'
    """
    return f"{IMAGES}/{number:04d}"


def write_pictures(
    chosen: ChosenRows, part: Part, folder: str, kept: tuple[str, ...], neutral: bool = True
) -> list[Entry]:
    """Write the pictures of one part as files; what becomes of every row, in order.

    Args:
        chosen: the rows
        part: under way
        folder: in the export, for the pictures
        kept: kinds of pictures whose bytes stay as they are; others become JPEGs
        neutral: whether markers in captions are spaced out
    """
    table, sources = chosen.table(), sources_of(chosen.run)
    texts = table["caption"].to_pylist()
    entries = [Entry(key, excluded="no_caption") for key in table["key"].to_pylist()]
    full = [index for index, text in enumerate(texts) if not is_empty(text)]
    files = part.bundle()
    for place, found in pictures_of(table.take(full), sources):
        index = full[place]
        key = entries[index].key
        content, kind, transcoded = as_written(found, kept, sources.max_pixels, key)
        caption, markers = neutralised(texts[index]) if neutral else (texts[index], 0)
        name = name_of(key)
        file = f"{folder}/{name}.{kind}"
        files.write(join(chosen.out, file), content)
        entries[index] = Entry(
            key,
            file=file,
            name=name,
            kind=kind,
            bytes=len(content),
            hash=picture_hash(content),
            transcoded=transcoded,
            caption=caption,
            neutralised=markers,
        )
        ticker.add(1)
    files.close()
    return entries


def write_json_list(location: Location, entries: Iterable[Any], opening: str = "[", closing: str = "]") -> None:
    """Write a JSON list, an entry a line, that appears whole or not at all; ASCII, so that any locale reads it."""
    _write_lines(location, (json.dumps(entry) for entry in entries), opening + "\n", ",\n", "\n" + closing + "\n")


def write_jsonl(location: Location, entries: Iterable[Any]) -> None:
    """Write JSON lines, a file that appears whole or not at all; ASCII, so that any locale reads it."""
    _write_lines(location, (json.dumps(entry) for entry in entries), "", "\n", "\n")


def _write_lines(location: Location, lines: Iterator[str], opening: str, between: str, closing: str) -> None:
    file = outgoing(location)
    try:
        file.write(opening.encode())
        for number, line in enumerate(lines):
            file.write(((between if number else "") + line).encode())
        file.write(closing.encode())
        file.commit()
    finally:
        file.discard()


def read_json_list(location: Location) -> Iterator[Any]:
    """The entries of what `write_json_list` wrote, one in memory at a time."""
    for line in islice(read_lines(location), 1, None):
        if line.startswith("{"):
            yield json.loads(line.rstrip(",\n"))


def read_jsonl(location: Location) -> Iterator[Any]:
    """The entries of JSON lines, one in memory at a time."""
    yield from map(json.loads, read_lines(location))


def check_text(flag: str, text: str) -> None:
    """Refuse text that a loader would not read as text.

    Raises:
        UsageError: It is blank, or holds a marker of a model.
    """
    if not text.strip() or neutralised(text)[1]:
        raise UsageError(f"{flag} {text!r} must be plain text without markers such as <image>.")
