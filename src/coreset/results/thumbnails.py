"""Small pictures of rows, decoded by the rules of `coreset.sources.pictures` and encoded anew, never passed through."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, read_json
from coreset.results.fate import picture_bytes
from coreset.sources.decoding import decoded_apart
from coreset.sources.pictures import BadPictureError

GAP = 8
"""Pixels between two pictures of a strip."""
IMPORTED = "The run was imported from vectors: it has no pictures."


@dataclass
class Thumbnails:
    """Makes small pictures of rows, and remembers why some cannot be shown.

    Attributes:
        run: the run directory
        side: pixels of the longer side, at most
        absent: why pictures are not there: each reason once, with how many it is true of
    """

    run: Location
    side: int
    absent: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look whether the run can have pictures at all."""
        self._imported = (read_json(join(self.run, "rows", "plan.json")) or {}).get("stage") == "import"

    def of(self, row: Mapping[str, Any]) -> Image.Image | None:
        """A small picture of a row; None where it cannot be read.

        Args:
            row: with `source`, `image_offset` and `image_bytes`
        """
        try:
            image = self._decoded(row)
        except InputError as error:
            self._miss(str(error))
            return None
        except BadPictureError as error:
            self._miss(f"A picture of {row['source']} is not what it was ({error.reason}).")
            return None
        image.thumbnail((self.side, self.side))
        return image

    def _decoded(self, row: Mapping[str, Any]) -> Image.Image:
        if self._imported:
            raise InputError(IMPORTED)
        content = picture_bytes(self.run, row["source"], row["image_offset"], row["image_bytes"])
        return decoded_apart(content)

    def _miss(self, reason: str) -> None:
        self.absent[reason] = self.absent.get(reason, 0) + 1


def encoded(image: Image.Image, format: str) -> bytes:  # noqa: A002  Pillow's word
    """The bytes of a picture as a new PNG or JPEG, without metadata."""
    file = io.BytesIO()
    image.save(file, format, quality=85)
    return file.getvalue()


def strip(images: Sequence[Image.Image], side: int) -> Image.Image:
    """Pictures side by side on white, each in a square.

    Example:
        >>> strip([Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))], 10).size
        (28, 10)
    """
    width = len(images) * side + (len(images) - 1) * GAP
    whole = Image.new("RGB", (width, side), "white")
    for number, image in enumerate(images):
        left, top = (side - image.width) // 2, (side - image.height) // 2
        whole.paste(image, (number * (side + GAP) + left, top))
    return whole
