"""`llava`: a JSON list of conversations and a folder of pictures, as bunny_pretrain_laion_2m.json is one.

Read by Bunny, LLaVA 1.5 and NeXT, MGM (Mini-Gemini), TinyLLaVA and XTuner: `--data_path OUT/coreset.json
--image_folder OUT/images`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from coreset.engine.files import join
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry, close_contents, written_entries
from coreset.results.export.folders import (
    IMAGES,
    FolderParams,
    numbered,
    read_json_list,
    write_json_list,
    write_pictures,
)
from coreset.results.export.format import ChosenRows, Finished, Format, Read
from coreset.results.export.pictures import JPEG, KINDS
from coreset.results.export.prompts import PromptParams

LIST = "coreset.json"


@dataclass(frozen=True, kw_only=True)
class LlavaParams(FolderParams, PromptParams):
    """Parameters of `llava`."""

    stage: ClassVar[str] = "export-llava"


def write_part(chosen: ChosenRows, params: LlavaParams, part: Part) -> Summary:
    """Write the pictures of one part."""
    kept = (JPEG,) if params.jpeg else KINDS
    return close_contents(part, write_pictures(chosen, part, numbered(chosen.number), kept))


def conversation(entry: Entry, params: LlavaParams) -> dict[str, Any]:
    """One pair as these loaders take it: two turns, the picture in the first."""
    asked = {"from": "human", "value": f"<image>\n{params.prompt_of(entry.key)}"}
    told = {"from": "gpt", "value": entry.caption}
    image = (entry.file or "").removeprefix(f"{IMAGES}/")
    return {"id": entry.key, "image": image, "conversations": [asked, told]}


def finish(done: Finished[LlavaParams]) -> list[str]:
    """Write the list."""
    entries = (conversation(entry, done.params) for entry in written_entries(done.parts))
    write_json_list(join(done.out, LIST), entries)
    return [LIST]


def read(done: Finished[LlavaParams]) -> Iterator[Read]:
    """The list as a loader takes it."""
    for entry in read_json_list(join(done.out, LIST)):
        asked, told = entry["conversations"]
        if not asked["value"].startswith("<image>\n"):
            told = {"value": None}
        yield Read(entry["id"], f"{IMAGES}/{entry['image']}", told["value"])


FORMAT = Format(
    "llava",
    "a JSON list of conversations and pictures in folders: Bunny, LLaVA 1.5 and NeXT, MGM, TinyLLaVA, XTuner",
    LlavaParams,
    write_part,
    (LIST, IMAGES),
    finish,
    read,
)
