"""`bigvision`: JSON lines of flat rows and a folder of pictures, for PaliGemma and SigLIP in big_vision.

Read by `bv:jsonl` with `fname=OUT/coreset.jsonl` and `fopen_keys={"image": "OUT/images"}`. That loader takes
the names and types of the fields from the first row, so every row has the same three. Its decoder knows no WebP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from coreset.engine.files import join
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry, close_contents, written_entries
from coreset.results.export.folders import IMAGES, FolderParams, numbered, read_jsonl, write_jsonl, write_pictures
from coreset.results.export.format import ChosenRows, Finished, Format, Read
from coreset.results.export.pictures import JPEG

LIST = "coreset.jsonl"
READABLE = (JPEG, "png", "bmp")
"""What TensorFlow's decoder gives as one picture: of a GIF it makes a stack of frames."""


@dataclass(frozen=True, kw_only=True)
class BigVisionParams(FolderParams):
    """Parameters of `bigvision`."""

    stage: ClassVar[str] = "export-bigvision"

    prefix: str = field(default="caption en", metadata={"help": "what the model is told before the caption"})


def write_part(chosen: ChosenRows, params: BigVisionParams, part: Part) -> Summary:
    """Write the pictures of one part."""
    kept = (JPEG,) if params.jpeg else READABLE
    return close_contents(part, write_pictures(chosen, part, numbered(chosen.number), kept, neutral=False))


def flat_row(entry: Entry, params: BigVisionParams) -> dict[str, str]:
    """One pair: three strings."""
    image = (entry.file or "").removeprefix(f"{IMAGES}/")
    return {"image": image, "prefix": params.prefix, "suffix": entry.caption or ""}


def finish(done: Finished[BigVisionParams]) -> list[str]:
    """Write the lines."""
    write_jsonl(join(done.out, LIST), (flat_row(entry, done.params) for entry in written_entries(done.parts)))
    return [LIST]


def read(done: Finished[BigVisionParams]) -> Iterator[Read]:
    """The lines as the loader takes them."""
    for row in read_jsonl(join(done.out, LIST)):
        yield Read(None, f"{IMAGES}/{row['image']}", row["suffix"])


FORMAT = Format(
    "bigvision",
    "JSON lines of image, prefix and suffix, and pictures in folders: PaliGemma and SigLIP in big_vision",
    BigVisionParams,
    write_part,
    (LIST, IMAGES),
    finish,
    read,
)
