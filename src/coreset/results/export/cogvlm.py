"""`cogvlm`: one flat folder of JPEGs and one of labels, as CogVLM-SFT has them; read by CogVLM2's fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from coreset.engine import files
from coreset.engine.errors import UsageError
from coreset.engine.files import join
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry, close_contents, written_entries
from coreset.results.export.folders import IMAGES, write_pictures
from coreset.results.export.format import ChosenRows, Finished, Format, Read
from coreset.results.export.pictures import JPEG
from coreset.results.export.prompts import PromptParams

LABELS = "labels_en"
VARIANTS = ("conversations", "captions")


@dataclass(frozen=True, kw_only=True)
class CogvlmParams(PromptParams):
    """Parameters of `cogvlm`."""

    stage: ClassVar[str] = "export-cogvlm"

    labels: str = field(
        default="conversations", metadata={"help": "what a label holds: conversations (CogVLM2) or captions"}
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        if self.labels not in VARIANTS:
            raise UsageError(f"--labels {self.labels} must be {' or '.join(VARIANTS)}.")


def write_part(chosen: ChosenRows, params: CogvlmParams, part: Part) -> Summary:
    """Write the pictures and labels of one part."""
    entries = write_pictures(chosen, part, IMAGES, (JPEG,))
    for entry in entries:
        if entry.excluded is None:
            text = json.dumps(label(entry, params), ensure_ascii=False)
            part.bundle().write(join(chosen.out, LABELS, f"{entry.name}.json"), text.encode())
    part.bundle().close()
    return close_contents(part, entries)


def label(entry: Entry, params: CogvlmParams) -> dict[str, Any]:
    """What is said of one picture."""
    if params.labels == "captions":
        return {"captions": [{"role": "caption", "content": entry.caption}]}
    asked = {"role": "user", "content": params.prompt_of(entry.key)}
    return {"conversations": [asked, {"role": "assistant", "content": entry.caption}]}


def read(done: Finished[CogvlmParams]) -> Iterator[Read]:
    """The labels as a loader takes them."""
    for entry in written_entries(done.parts):
        found = files.read_json(join(done.out, LABELS, f"{entry.name}.json")) or {}
        turns = found.get(done.params.labels) or [{"content": None}]
        yield Read(None, f"{IMAGES}/{entry.name}.{JPEG}", turns[-1]["content"])


FORMAT = Format(
    "cogvlm",
    "a flat folder of JPEGs and one of labels: CogVLM-SFT's layout, CogVLM2",
    CogvlmParams,
    write_part,
    (LABELS, IMAGES),
    read=read,
)
