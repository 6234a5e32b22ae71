"""`minigpt4-align`: filter_cap.json and a flat folder of JPEGs, as MiniGPT-4's second stage reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from coreset.engine.files import join
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry, close_contents, written_entries
from coreset.results.export.folders import read_json_list, write_json_list, write_pictures
from coreset.results.export.format import ChosenRows, ExportParams, Finished, Format, Read
from coreset.results.export.pictures import JPEG

LIST, IMAGE = "filter_cap.json", "image"


@dataclass(frozen=True, kw_only=True)
class AlignParams(ExportParams):
    """Parameters of `minigpt4-align`."""

    stage: ClassVar[str] = "export-minigpt4-align"


def write_part(chosen: ChosenRows, params: AlignParams, part: Part) -> Summary:  # noqa: ARG001  a format's shape
    """Write the pictures of one part."""
    return close_contents(part, write_pictures(chosen, part, IMAGE, (JPEG,)))


def annotation(entry: Entry) -> dict[str, str]:
    """One pair, by the name of its picture."""
    return {"image_id": entry.name or "", "caption": entry.caption or ""}


def finish(done: Finished[AlignParams]) -> list[str]:
    """Write the list."""
    entries = map(annotation, written_entries(done.parts))
    write_json_list(join(done.out, LIST), entries, '{"annotations": [', "]}")
    return [LIST]


def read(done: Finished[AlignParams]) -> Iterator[Read]:
    """The list as the loader takes it."""
    for entry in read_json_list(join(done.out, LIST)):
        yield Read(None, f"{IMAGE}/{entry['image_id']}.{JPEG}", entry["caption"])


FORMAT = Format(
    "minigpt4-align",
    "filter_cap.json and a flat folder of JPEGs: the second stage of MiniGPT-4",
    AlignParams,
    write_part,
    (LIST, IMAGE),
    finish,
    read,
)
