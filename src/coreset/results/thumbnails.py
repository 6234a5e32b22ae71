"""Small pictures of rows: read by their place, decoded apart, made small and encoded anew, never passed through."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, read_json
from coreset.results.fate import picture_bytes
from coreset.sources.decoding import decoded_apart
from coreset.sources.pictures import BadPictureError

IMPORTED = "The run was imported from vectors: it has no pictures."
GAP = 8
"""Pixels between two pictures of a strip."""
SIDE = 192
"""Pixels of the longer side, at most: twice what is shown on a phone."""
BUDGET = 3 << 20
"""Characters of all pictures of a page together."""
QUALITIES = (72, 55, 40, 25, 10)
"""Of WebP; the first that fits is taken."""
NO_PLACE, GONE, UNREADABLE = "no_place", "gone", "unreadable"


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: its `data:` address, and its size in pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Thumbnails:
    """The pictures of some rows.

    Attributes:
        by_key: the pictures that can be shown
        missing: how many rows have none, by why: `no_place`, `gone` or `unreadable`
        example: what was said of the first of these
    """

    by_key: dict[str, Thumbnail] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    example: dict[str, str] = field(default_factory=dict)


def thumbnails(run: Location, rows: Sequence[Mapping[str, Any]], budget: int = BUDGET) -> Thumbnails:
    """The pictures of some rows, all together within a budget.

    Args:
        run: the run directory
        rows: with `key`, `source`, `image_offset` and `image_bytes`; a row that comes twice counts twice
        budget: characters of all addresses
    """
    found: dict[str, Thumbnail] = {}
    missing: Counter[str] = Counter()
    example: dict[str, str] = {}
    each = budget // max(len(rows), 1)
    for row in {row["key"]: row for row in rows}.values():
        try:
            found[row["key"]] = thumbnail(stored_bytes(run, row), each)
        except MissingPictureError as error:
            missing[error.why] += 1
            example.setdefault(error.why, str(error))
        except BadPictureError as error:
            missing[UNREADABLE] += 1
            example.setdefault(UNREADABLE, f"{row['source']} {row['key']}: {error.detail}")
    return Thumbnails(found, dict(missing), example)


class MissingPictureError(Exception):
    """A row's picture cannot be shown: a code of three, and a sentence."""

    def __init__(self, why: str, what: str) -> None:
        super().__init__(what)
        self.why = why


def stored_bytes(run: Location, row: Mapping[str, Any]) -> bytes:
    """The stored bytes of a row's picture.

    Raises:
        MissingPictureError: The row does not say where it lies, or it lies there no more.
    """
    if row["image_offset"] is None or row["image_bytes"] is None:
        raise MissingPictureError(NO_PLACE, f"{row['source']} does not say where its pictures lie")
    try:
        return picture_bytes(run, row["source"], row["image_offset"], row["image_bytes"])
    except InputError as error:
        raise MissingPictureError(GONE, str(error).rstrip(".")) from error
    except ValueError as error:  # a name that no disk can have
        raise MissingPictureError(GONE, f"{row['source']} cannot be read: {error}") from error


@dataclass
class SmallPictures:
    """Makes small pictures of rows, one after the other, and remembers why some cannot be shown.

    Attributes:
        run: the run directory
        side: pixels of the longer side, at most
        absent: why pictures are not there: each reason once, with how many it is true of
    """

    run: Location
    side: int
    absent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Look whether the run can have pictures at all."""
        self._imported = (read_json(join(self.run, "rows", "plan.json")) or {}).get("stage") == "import"

    def of(self, row: Mapping[str, Any]) -> Image.Image | None:
        """A small picture of a row with `source`, `image_offset` and `image_bytes`; None where it cannot be read."""
        try:
            image = decoded_apart(stored_bytes(self.run, row))
        except MissingPictureError as error:
            self.absent[IMPORTED if self._imported else f"{error}."] += 1
            return None
        except BadPictureError as error:
            self.absent[f"A picture of {row['source']} is not what it was ({error.reason})."] += 1
            return None
        image.thumbnail((self.side, self.side))
        return image


def thumbnail(content: bytes, most: int) -> Thumbnail:
    """A small picture of a picture's bytes.

    Args:
        content: of a picture of any kind that `embed` takes
        most: characters of the address; the worst quality may exceed it

    Raises:
        BadPictureError: It cannot be decoded.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (1000, 500), (1, 2, 3)).save(file, "PNG")
        >>> small = thumbnail(file.getvalue(), 1000)
        >>> small.width, small.height, small.address[:23]
        (192, 96, 'data:image/webp;base64,')
    """
    image = decoded_apart(content)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    address = ""
    for quality in QUALITIES:
        address = _address(image, quality)
        if len(address) <= most:
            break
    return Thumbnail(address, image.width, image.height)


def _address(image: Image.Image, quality: int) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


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
