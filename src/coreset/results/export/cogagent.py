"""`cogagent`: JSON lines of messages and a folder of pictures, as CogAgent's fine-tuning reads them.

Its loader opens `image` as it stands: from the folder it is started in, or by the prefix that is given. As published
(5fde01e) it puts the picture into the first message and then clears that of the last but one, so that of two messages
it loses the picture: `--system` puts one before them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from coreset.engine.files import join
from coreset.engine.stage import LATER, Part, Summary
from coreset.results.export.contents import Entry, close_contents, written_entries
from coreset.results.export.folders import (
    IMAGES,
    FolderParams,
    check_text,
    numbered,
    read_jsonl,
    write_jsonl,
    write_pictures,
)
from coreset.results.export.format import ChosenRows, Finished, Format, Read
from coreset.results.export.pictures import JPEG, KINDS
from coreset.results.export.prompts import PromptParams

LIST = "train.jsonl"


@dataclass(frozen=True, kw_only=True)
class CogagentParams(FolderParams, PromptParams):
    """Parameters of `cogagent`."""

    stage: ClassVar[str] = "export-cogagent"

    image_prefix: str = field(default="", metadata={"help": "put before images/..., such as /where/OUT/ "})
    system: str | None = field(
        default=None,
        metadata={"help": "a first message, of the role system, which CogAgent's own code needs", LATER: True},
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        if self.system is not None:
            check_text("--system", self.system)


def write_part(chosen: ChosenRows, params: CogagentParams, part: Part) -> Summary:
    """Write the pictures of one part."""
    kept = (JPEG,) if params.jpeg else KINDS
    return close_contents(part, write_pictures(chosen, part, numbered(chosen.number), kept))


def messages(entry: Entry, params: CogagentParams) -> dict[str, Any]:
    """One pair: a question about a picture, and its caption; before them what the system says, if it does."""
    image = f"{params.image_prefix}{entry.file}"
    asked = {"role": "user", "image": image, "content": params.prompt_of(entry.key)}
    first = [] if params.system is None else [{"role": "system", "content": params.system}]
    return {"messages": [*first, asked, {"role": "assistant", "content": entry.caption}]}


def finish(done: Finished[CogagentParams]) -> list[str]:
    """Write the lines."""
    write_jsonl(join(done.out, LIST), (messages(entry, done.params) for entry in written_entries(done.parts)))
    return [LIST]


def read(done: Finished[CogagentParams]) -> Iterator[Read]:
    """The lines as the loader takes them."""
    for row in read_jsonl(join(done.out, LIST)):
        asked, told = row["messages"][-2:]
        yield Read(None, asked["image"].removeprefix(done.params.image_prefix), told["content"])


FORMAT = Format(
    "cogagent",
    "JSON lines of messages and pictures in folders: CogAgent's fine-tuning",
    CogagentParams,
    write_part,
    (LIST, IMAGES),
    finish,
    read,
)
