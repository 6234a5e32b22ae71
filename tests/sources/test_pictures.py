"""Foreign bytes become an RGB picture or a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from coreset.sources.pictures import BadPictureError, decoded


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 40, height: int = 20, mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze() if bands == 1 else pixels)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that nothing backs."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_five_formats_decode_to_rgb(kind: str) -> None:
    picture = decoded(saved(noise(), kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 20))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_half_a_picture_is_refused(kind: str) -> None:
    content = saved(noise(), kind)
    with pytest.raises(BadPictureError) as error:
        decoded(content[: len(content) // 2])
    assert error.value.reason == "undecodable_picture"


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>403</html>", b"\x00" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_picture_is_said_with_its_first_bytes(content: bytes) -> None:
    with pytest.raises(BadPictureError) as error:
        decoded(content)
    assert error.value.reason == "not_a_picture"
    assert content[:16].hex() in error.value.detail


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM"])
def test_other_formats_are_refused_whatever_pillow_can(kind: str) -> None:
    with pytest.raises(BadPictureError, match="not_a_picture"):
        decoded(saved(noise(), kind))


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (65_000, 65_000), (8001, 8000)])
def test_too_many_pixels_are_refused_by_the_header(width: int, height: int) -> None:
    with pytest.raises(BadPictureError) as error:
        decoded(huge_png(width, height))
    assert error.value.reason == "too_many_pixels"


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_odd_shapes_are_pictures(size: tuple[int, int]) -> None:
    assert decoded(saved(Image.new("RGB", size), "PNG")).size == size


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert decoded(saved(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    half = Image.new("LA", (2, 2), (0, 128))
    assert decoded(saved(half, "PNG")).getpixel((0, 0)) == (127, 127, 127)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([255, 0, 0] * 256)
    assert decoded(saved(palette, "PNG", transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16))
    value = decoded(saved(grey, "PNG")).getpixel((0, 0))
    assert value[0] in {155, 156}
    assert len(set(value)) == 1


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decoded(saved(noise().convert(mode), kind)).mode == "RGB"


def test_exif_rotation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(saved(noise(), "JPEG", exif=exif)).size == (40, 20)


def test_broken_exif_does_not_matter() -> None:
    content = saved(noise(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + b"\xff" * 40)
    assert decoded(content).size == (40, 20)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    red, green, blue = decoded(content).getpixel((4, 4))
    assert red > 200
    assert max(green, blue) < 60


def test_pillow_is_not_allowed_to_complete_truncated_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        decoded(saved(noise(), "PNG"))
