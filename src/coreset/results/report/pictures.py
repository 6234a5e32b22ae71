"""The pictures of a report: of each row that is shown a small one, as a `data:` address, all within a budget."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from coreset.engine.files import Location
from coreset.results.thumbnails import Thumbnails

SIDE = 192
"""Pixels of the longer side, at most: twice what is shown on a phone."""
BUDGET = 3 << 20
"""Characters of all pictures of a page together."""
QUALITIES = (72, 55, 40, 25, 10)
"""Of WebP; the first that fits is taken."""


@dataclass(frozen=True)
class Picture:
    """A small picture: its address, and its size in pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Pictures:
    """The pictures of some rows.

    Attributes:
        by_key: those that can be shown
        absent: why others cannot: each reason, with how many it is true of
    """

    by_key: dict[str, Picture]
    absent: dict[str, int]


def pictures_of(run: Location, rows: Sequence[Mapping[str, Any]], budget: int = BUDGET) -> Pictures:
    """The pictures of some rows.

    Args:
        run: the run directory
        rows: with `key`, `source`, `image_offset` and `image_bytes`; a row that comes twice counts twice
        budget: characters of all addresses
    """
    small, found = Thumbnails(run, SIDE), dict[str, Picture]()
    for row in {row["key"]: row for row in rows}.values():
        image = small.of(row)
        if image is not None:
            found[row["key"]] = fitted(image, budget // len(rows))
    return Pictures(found, small.absent)


def fitted(image: Image.Image, most: int) -> Picture:
    """A picture as an address of at most so many characters, in the best quality that fits; else in the worst.

    Example:
        >>> picture = fitted(Image.new("RGB", (20, 10), (1, 2, 3)), 1000)
        >>> picture.width, picture.height, picture.address[:23]
        (20, 10, 'data:image/webp;base64,')
    """
    address = ""
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=4)
        address = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
        if len(address) <= most:
            break
    return Picture(address, image.width, image.height)
