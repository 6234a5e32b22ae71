"""Pictures brought to the size that a model reads: open_clip's three ways to do so, pixel for pixel, by Pillow alone.

It runs where pictures are decoded, so that large pictures never travel through a pipe, and without torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from PIL import Image

SHORTEST, LONGEST, SQUASH = "shortest", "longest", "squash"
_MOST = 64_000_000  # pixels of a picture that is resized; more than any model reads of one of common shape
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Fit:
    """How a picture becomes one of a fixed size.

    Attributes:
        height: in pixels
        width: in pixels
        mode: `shortest` (the short side fits, the rest is cut away), `longest` (the long side fits, the rest is
            filled) or `squash` (both sides fit)
        interpolation: `bicubic` or `bilinear`
        fill: the grey of what is filled
    """

    height: int
    width: int
    mode: str = SHORTEST
    interpolation: str = "bicubic"
    fill: int = 0

    def to_json(self) -> bytes:
        """The same as bytes, for another process."""
        return json.dumps(asdict(self)).encode()

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to which a picture of some size is resized, before anything is cut or filled.

        Example:
            >>> Fit(224, 224).resized(640, 480), Fit(224, 224, "longest").resized(640, 480)
            ((298, 224), (224, 168))
        """
        if self.mode == SQUASH:
            return self.width, self.height
        if self.mode == SHORTEST and self.height == self.width:  # torchvision's rule rounds down
            short, long = min(width, height), max(width, height)
            grown = int(self.width * long / short)
            return (self.width, grown) if width <= height else (grown, self.width)
        ratios = (height / self.height, width / self.width)
        ratio = max(ratios) if self.mode == LONGEST else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))


@lru_cache(maxsize=8)
def fit_from_json(text: bytes) -> Fit:
    """What `Fit.to_json` wrote.

    Example:
        >>> fit_from_json(Fit(8, 9).to_json())
        Fit(height=8, width=9, mode='shortest', interpolation='bicubic', fill=0)
    """
    return Fit(**json.loads(text))


def fitted(image: Image.Image, fit: Fit) -> Image.Image:
    """An RGB picture of exactly the size that a model reads.

    Example:
        >>> fitted(Image.new("RGB", (640, 480)), Fit(224, 224)).size
        (224, 224)
    """
    size = fit.resized(*image.size)
    if size[0] * size[1] > _MOST and fit.mode == SHORTEST:  # a thread of a picture, nearly all of it to be cut away
        image = _middle(image, 16 * min(image.size))
        size = fit.resized(*image.size)
    bicubic = fit.mode == SHORTEST and fit.height != fit.width  # open_clip names no filter there
    if size != image.size:
        image = image.resize(size, FILTERS["bicubic" if bicubic else fit.interpolation])
    return image if image.size == (fit.width, fit.height) else _centred(image, fit)


def _middle(image: Image.Image, most: int) -> Image.Image:
    width, height = min(image.width, most), min(image.height, most)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _centred(image: Image.Image, fit: Fit) -> Image.Image:
    """The middle of a picture; where it is too small, the rest is filled."""
    short_of = [max(0, want - have) for want, have in zip((fit.width, fit.height), image.size, strict=True)]
    if any(short_of):
        fill = fit.fill if fit.mode == LONGEST else 0
        size = (image.width + short_of[0], image.height + short_of[1])
        larger = Image.new("RGB", size, (fill, fill, fill))
        larger.paste(image, (short_of[0] // 2, short_of[1] // 2))
        image = larger
    left, top = round((image.width - fit.width) / 2.0), round((image.height - fit.height) / 2.0)
    return image.crop((left, top, left + fit.width, top + fit.height))
