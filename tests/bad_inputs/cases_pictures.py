"""Pictures: cut, damaged, far too large, or merely odd."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from bad_inputs.case import MIB, ShardCase, between, caption, good
from PIL import Image, PngImagePlugin
from strategies_tars import END, sample

TXT = caption("b").encode()
SIDE = 32
WHITE, GREY = (255, 255, 255), (155, 155, 155)


def noise(mode: str = "RGB", width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Random patches."""
    draw = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(draw).resize((width, height), Image.Resampling.NEAREST).convert(mode)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(colour: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (SIDE, SIDE), colour)


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png_of(width: int, height: int, bits: int = 8, colour: int = 0, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG with a header of our choice, and so much data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zeros, deflated."""
    squeeze = zlib.compressobj(9)
    pieces = [squeeze.compress(bytes(MIB)) for _ in range(count // MIB)]
    return b"".join([*pieces, squeeze.compress(bytes(count % MIB)), squeeze.flush()])


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def refused(name: str, given: str, content: Callable[[], bytes], reason: str, ending: str = "png") -> ShardCase:
    """A picture between two whole samples that cannot be used."""
    return ShardCase(
        name, given, between(lambda key: sample(key, **{ending: content(), "txt": TXT})), "az", (f"b {reason}",)
    )


def taken(
    name: str,
    given: str,
    effect: str,
    content: Callable[[], bytes],
    like: Callable[[], bytes] | None = None,
    unlike: Callable[[], bytes] | None = None,
    ending: str = "png",
) -> ShardCase:
    """A picture that is used: with the vector of one plain picture, and not with that of another."""

    def made(prefix: str) -> bytes:
        members = good(prefix + "a") + sample(prefix + "b", **{ending: content(), "txt": TXT})
        for letter, other in (("l", like), ("u", unlike)):
            members += sample(prefix + letter, png=other(), txt=TXT) if other else b""
        return members + good(prefix + "z") + END

    keeps = "ab" + ("l" if like else "") + ("u" if unlike else "") + "z"
    return ShardCase(name, given, made, keeps, effect=effect, like="bl" if like else "", unlike="bu" if unlike else "")


def exif(**entries: object) -> Image.Exif:
    found = Image.Exif()
    for tag, value in entries.items():
        found[int(tag[1:])] = value
    return found


def animated(kind: str) -> bytes:
    frames = [plain(colour) for colour in ((255, 0, 0), *[(0, 0, 255)] * 9)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def red() -> bytes:
    return saved(plain((255, 0, 0)))


def clear_palette() -> bytes:
    image = Image.new("P", (SIDE, SIDE), 0)
    image.putpalette([255, 0, 0] * 256)
    return saved(image, transparency=0)


def deep_grey() -> bytes:
    return saved(Image.fromarray(np.full((SIDE, SIDE), 40_000, np.uint16)))


def text_bomb() -> bytes:
    """A PNG whose compressed text unpacks to 64 MiB."""
    text = chunk(b"zTXt", b"Comment\0\0" + zeros(64 * MIB))
    content = saved(noise())
    return content[:33] + text + content[33:]


def profile_bomb() -> bytes:
    """A PNG whose colour profile unpacks to 64 MiB."""
    content = saved(noise())
    return content[:33] + chunk(b"iCCP", b"x\0\0" + zeros(64 * MIB)) + content[33:]


def with_profile() -> bytes:
    from PIL import ImageCms

    return saved(noise(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


def with_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 5000)
    return saved(noise(), pnginfo=info)


def upside_down_bmp() -> bytes:
    """A BMP whose height is negative: its rows go from top to bottom."""
    content = bytearray(saved(noise().transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    content[22:26] = struct.pack("<i", -SIDE)
    return bytes(content)


KINDS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}

DAMAGED = [
    *(
        refused(
            f"{kind} cut in half",
            f"the first half of a {kind}",
            lambda kind=kind: halved(saved(noise(), kind)),
            "undecodable_picture",
            ending,
        )
        for kind, ending in KINDS.items()
    ),
    *(
        refused(
            f"{kind} of a header only",
            f"the first bytes of a {kind}",
            lambda kind=kind, size=size: saved(noise(), kind)[:size],
            reason,
            KINDS[kind],
        )
        for kind, size, reason in (
            ("JPEG", 20, "not_a_picture"),
            ("PNG", 33, "not_a_picture"),
            ("WEBP", 16, "undecodable_picture"),
            ("GIF", 13, "not_a_picture"),
        )
    ),
    taken(
        "PNG without its last bytes",
        "a PNG that lacks its last 2 bytes",
        "all of its pixels are there",
        lambda: saved(noise())[:-2],
        lambda: saved(noise()),
    ),
    refused(
        "PNG with a damaged chunk",
        "a PNG with a wrong checksum in its pixels",
        lambda: flipped(saved(noise()), 60),
        "undecodable_picture",
    ),
    refused(
        "PNG with a damaged header",
        "a PNG with a wrong checksum in its header",
        lambda: flipped(saved(noise()), 19),
        "not_a_picture",
    ),
    refused("PNG of 0 x 0", "a PNG of no pixels", lambda: png_of(0, 0), "not_a_picture"),
    taken(
        "PNG with too few rows",
        "a PNG whose pixels are a whole stream, but of fewer rows than its header says",
        "the rows that are not there are black: no decoder complains",
        lambda: png_of(64, 64, data=zlib.compress((b"\0" + b"\xff" * 64) * 3)),
        unlike=lambda: saved(plain(WHITE)),
    ),
    refused("no bytes", "a picture of 0 bytes", lambda: b"", "empty_image"),
    refused(
        "web page for a picture",
        "an HTML page for a picture",
        lambda: b"<!DOCTYPE html><title>403</title>",
        "not_a_picture",
        "jpg",
    ),
    refused("zeros for a picture", "zeros for a picture", lambda: bytes(5000), "not_a_picture", "jpg"),
    taken(
        "flipped bit in a JPEG",
        "one changed bit in the pixels of a JPEG",
        "it decodes, and nothing can tell: the hashes of img2dataset are of the file before it was resized",
        lambda: flipped(saved(noise(), "JPEG"), 650),
        ending="jpg",
    ),
]

LARGE = [
    refused(
        "89 megapixels in 87 KB",
        "a PNG of 89 megapixels in 87 KB",
        lambda: png_of(9440, 9440, data=zeros(9440 * 9441)),
        "too_many_pixels",
    ),
    refused("100 megapixels", "a PNG of 100 megapixels", lambda: png_of(10_000, 10_000, 1), "too_many_pixels"),
    refused(
        "200 megapixels",
        "a PNG of 200 megapixels in 25 KB",
        lambda: png_of(20_000, 10_000, 1, data=zeros(2501 * 10_000)),
        "too_many_pixels",
    ),
    refused("4.2 gigapixels", "a PNG of 65,000 x 65,000", lambda: png_of(65_000, 65_000), "too_many_pixels"),
    refused(
        "2 to the 62 pixels",
        "a PNG of 2,147,483,647 x 2,147,483,647",
        lambda: png_of(2**31 - 1, 2**31 - 1),
        "too_many_pixels",
    ),
    refused(
        "JPEG of 65,500 x 65,500",
        "a JPEG header that claims 4.3 gigapixels",
        lambda: resized_jpeg(65_500),
        "too_many_pixels",
        "jpg",
    ),
    refused(
        "GIF of 65,535 x 65,535",
        "a GIF header that claims 4.3 gigapixels",
        lambda: resized_gif(65_535),
        "too_many_pixels",
        "gif",
    ),
    refused("text bomb", "a PNG whose compressed text unpacks to 64 MiB", text_bomb, "undecodable_picture"),
    refused("profile bomb", "a PNG whose colour profile unpacks to 64 MiB", profile_bomb, "undecodable_picture"),
    taken("one pixel", "a PNG of 1 x 1", "used", lambda: saved(Image.new("RGB", (1, 1), (255, 0, 0))), red),
    taken("1 x 20,000", "a PNG of 1 x 20,000", "used", lambda: saved(Image.new("RGB", (1, 20_000)))),
    taken("20,000 x 1", "a PNG of 20,000 x 1", "used", lambda: saved(Image.new("RGB", (20_000, 1)))),
]

OTHER_KINDS = [
    *(
        refused(f"{kind} for a picture", f"a {kind} named .png", content, "not_a_picture")
        for kind, content in {
            "TIFF": lambda: saved(noise(), "TIFF"),
            "ICO": lambda: saved(noise(), "ICO"),
            "PPM": lambda: saved(noise(), "PPM"),
            "TGA": lambda: saved(noise(), "TGA"),
            "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
            "PDF": lambda: b"%PDF-1.7\n1 0 obj\n",
            "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
            "AVIF": lambda: b"\0\0\0\x1cftypavif" + bytes(200),
        }.items()
    ),
    taken(
        "PNG named jpg",
        "a PNG with the name .jpg",
        "its bytes say what it is",
        lambda: saved(noise()),
        lambda: saved(noise()),
        ending="jpg",
    ),
    taken(
        "bytes behind a JPEG",
        "a JPEG with a zip behind it",
        "they are ignored",
        lambda: saved(noise(), "JPEG") + b"PK\x03\x04" + bytes(900),
        lambda: saved(noise(), "JPEG"),
        ending="jpg",
    ),
]

COLOURS = [
    taken(
        "16-bit grey",
        "a 16-bit PNG of grey 40,000",
        "scaled to 155, not cut off at 255",
        deep_grey,
        lambda: saved(plain(GREY)),
        lambda: saved(plain(WHITE)),
    ),
    taken(
        "CMYK", "a JPEG in CMYK", "converted", lambda: saved(plain((0, 255, 255, 0), "CMYK"), "JPEG"), red, ending="jpg"
    ),
    taken(
        "1 bit",
        "a PNG of 1 bit a pixel",
        "converted",
        lambda: saved(noise("1")),
        lambda: saved(noise("1").convert("RGB")),
    ),
    taken(
        "palette",
        "a PNG with a palette",
        "converted",
        lambda: saved(noise("P")),
        lambda: saved(noise("P").convert("RGB")),
    ),
    taken(
        "transparent palette",
        "a PNG whose palette is transparent over red",
        "laid on white",
        clear_palette,
        lambda: saved(plain(WHITE)),
        red,
    ),
    taken(
        "transparent",
        "a transparent PNG over red",
        "laid on white",
        lambda: saved(plain((255, 0, 0, 0), "RGBA")),
        lambda: saved(plain(WHITE)),
        red,
    ),
    taken(
        "half transparent grey",
        "a half transparent PNG of grey and alpha",
        "laid on white",
        lambda: saved(Image.new("LA", (SIDE, SIDE), (0, 99))),
        lambda: saved(plain((156, 156, 156))),
        lambda: saved(plain((0, 0, 0))),
    ),
    taken(
        "transparent WebP",
        "a transparent WebP over red",
        "laid on white",
        lambda: saved(plain((255, 0, 0, 0), "RGBA"), "WEBP", lossless=True, exact=True),
        lambda: saved(plain(WHITE)),
        red,
        "webp",
    ),
    taken(
        "colour profile",
        "a PNG with a profile of another colour space",
        "the profile is ignored",
        with_profile,
        lambda: saved(noise()),
    ),
    taken("text in a PNG", "a PNG with 5,000 characters of text", "ignored", with_text, lambda: saved(noise())),
    taken(
        "BMP from top to bottom",
        "a BMP of a negative height",
        "read as it is meant",
        upside_down_bmp,
        lambda: saved(noise()),
        ending="bmp",
    ),
]

FRAMES = [
    taken(
        "EXIF rotation",
        "a JPEG that EXIF says to turn",
        "not turned, as in the reference",
        lambda: saved(noise(width=40), "JPEG", exif=exif(t274=6)),
        lambda: saved(noise(width=40), "JPEG"),
        lambda: saved(noise(width=40).transpose(Image.Transpose.ROTATE_270), "JPEG"),
        "jpg",
    ),
    taken(
        "broken EXIF",
        "a JPEG with EXIF of garbage",
        "EXIF is not read",
        lambda: saved(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40),
        lambda: saved(noise(), "JPEG"),
        ending="jpg",
    ),
    taken(
        "EXIF divided by zero",
        "a JPEG with an EXIF resolution of 1/0",
        "EXIF is not read",
        lambda: saved(noise(), "JPEG", exif=zero_resolution()),
        lambda: saved(noise(), "JPEG"),
        ending="jpg",
    ),
    taken(
        "animated GIF",
        "a GIF of 10 frames",
        "the first frame counts",
        lambda: animated("GIF"),
        red,
        lambda: saved(plain((0, 0, 255))),
        "gif",
    ),
    taken(
        "animated WebP",
        "a WebP of 10 frames",
        "the first frame counts",
        lambda: animated("WEBP"),
        red,
        lambda: saved(plain((0, 0, 255))),
        "webp",
    ),
    taken(
        "animated PNG",
        "a PNG of 10 frames",
        "the first frame counts",
        lambda: animated("PNG"),
        red,
        lambda: saved(plain((0, 0, 255))),
    ),
    taken(
        "two pictures in one JPEG",
        "a JPEG of two pictures (MPO), as phones write it",
        "the first one counts",
        lambda: animated("MPO"),
        lambda: saved(plain((255, 0, 0)), "JPEG"),
        lambda: saved(plain((0, 0, 255))),
        "jpg",
    ),
]


def zero_resolution() -> bytes:
    """EXIF whose XResolution is 1/0."""
    entries = struct.pack(">HHHII", 1, 0x011A, 5, 1, 26) + bytes(4)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + entries + struct.pack(">II", 1, 0)


def resized_jpeg(side: int) -> bytes:
    content = bytearray(saved(noise(), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(content)


def resized_gif(side: int) -> bytes:
    content = bytearray(saved(noise(), "GIF"))
    content[6:10] = struct.pack("<HH", side, side)
    return bytes(content)


SHARDS = [*DAMAGED, *LARGE, *OTHER_KINDS, *COLOURS, *FRAMES]
