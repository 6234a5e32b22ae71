"""Foreign bytes to an RGB picture, or a reason why not.

Rules, the same for every input: five formats only; the number of pixels is checked before anything is decoded;
the first frame counts; EXIF rotation is not applied, as in CLIP's own pipeline; transparency is laid on white;
16-bit grey is scaled, not clipped. A truncated picture is refused, never completed with invented rows.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageFile, UnidentifiedImageError

from coreset.sources.fitting import Fit, fitted

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 64_000_000
DRAFT = 2
"""How many times as wide as it is needed a JPEG stays that is decoded as a draft."""


class BadPictureError(Exception):
    """Why a picture cannot be used: a reason code and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decoded(content: bytes, max_pixels: int = MAX_PIXELS, fit: Fit | None = None, draft: bool = False) -> Image.Image:
    """An RGB picture from the bytes of a JPEG, PNG, WebP, GIF or BMP.

    Args:
        content: the bytes of one picture
        max_pixels: refuse more than this, judged from the header alone
        fit: bring it to the size that a model reads
        draft: decode a JPEG at a half, a quarter or an eighth of its size where that is still twice what `fit` wants

    Raises:
        BadPictureError: `not_a_picture`, `too_many_pixels` or `undecodable_picture`.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGBA", (2, 1), (255, 0, 0, 0)).save(file, "PNG")
        >>> decoded(file.getvalue()).getpixel((0, 0))
        (255, 255, 255)
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: truncated pictures would pass as whole.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pixel limits are checked here; odd metadata does not matter to a picture
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(image, max_pixels)
                if draft and fit and image.format == "JPEG":
                    width, height = fit.resized(*image.size)
                    image.draft(None, (DRAFT * width, DRAFT * height))
                image.load()
                return fitted(_rgb(image), fit) if fit else _rgb(image)
        except UnidentifiedImageError as error:
            raise BadPictureError("not_a_picture", f"begins with {content[:16].hex()}") from error
        except Image.DecompressionBombError as error:
            raise BadPictureError("too_many_pixels", str(error)) from error
        except (BadPictureError, MemoryError):
            raise
        except Exception as error:  # decoders raise anything from SyntaxError to struct.error
            raise BadPictureError("undecodable_picture", f"{type(error).__name__}: {error}"[:200]) from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise BadPictureError("too_many_pixels", f"{width} x {height} is over {max_pixels:,} pixels")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda value: value / 257).convert("L")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        alpha = image.convert("RGBA")
        white = Image.new("RGBA", alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, alpha).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
