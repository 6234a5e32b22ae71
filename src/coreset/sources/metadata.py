"""What the json and the txt of a sample say, or why they cannot be believed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_HASHES = {"sha256": re.compile(r"[0-9a-fA-F]{64}"), "md5": re.compile(r"[0-9a-fA-F]{32}")}
_LARGEST_SIDE = 2**31 - 1


class BadSampleError(ValueError):
    """A sample cannot be used; `reason` is the code that the quarantine shows. Never leaves `sources`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Metadata:
    """What coreset reads of a sample's json; everything else in it is ignored."""

    caption: str | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


def read_metadata(content: bytes) -> Metadata:
    """What the json of a sample says.

    `NaN` passes, because img2dataset writes it where a Parquet column had no number. A field that is not
    what its name promises is left out.

    Raises:
        BadSampleError: `bad_json`: not UTF-8, not json, nested too deep, not an object, or a url with
            half a surrogate pair.

    Example:
        >>> read_metadata(b'{"url": "http://x.org/a.jpg", "width": 64, "height": null, "md5": "?"}')
        Metadata(caption=None, url='http://x.org/a.jpg', width=64, height=None, hashes={}, key=None)
    """
    try:
        fields = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise BadSampleError("bad_json", "the json is nested too deep") from error
    except ValueError as error:
        raise BadSampleError("bad_json", f"the json cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise BadSampleError("bad_json", f"the json is not an object but a {type(fields).__name__}")
    return Metadata(
        caption=_text(fields.get("caption")),
        url=_url(fields.get("url")),
        width=_side(fields.get("width")),
        height=_side(fields.get("height")),
        hashes={
            name: found.lower()
            for name, pattern in _HASHES.items()
            if isinstance(found := fields.get(name), str) and pattern.fullmatch(found)
        },
        key=_key(fields.get("key")),
    )


def read_caption(text: bytes | None, metadata: Metadata, longest: int) -> str:
    """The caption of a sample as it stands: its txt, or its json's `caption` where that is missing or blank.

    Args:
        text: The content of the txt, None if there is none.
        metadata: What the json says.
        longest: Bytes of UTF-8 that a caption may have.

    Raises:
        BadSampleError: `no_caption`, `caption_not_utf8` or `caption_too_long`.

    Example:
        >>> read_caption(b"a red lamp", Metadata(caption="lamp"), longest=100)
        'a red lamp'
        >>> read_caption(b" ", Metadata(caption="lamp"), longest=100)
        'lamp'
    """
    caption = "" if text is None else _decoded(text)
    if not caption.strip():
        caption = metadata.caption or ""
        if not caption.strip():
            raise BadSampleError("no_caption", "no caption" if text is None else "the caption is blank")
        text = _encoded(caption)
    if text is not None and len(text) > longest:
        raise BadSampleError("caption_too_long", f"the caption has {len(text)} bytes, more than {longest}")
    return caption


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = text[error.start : error.start + 16].hex(" ")
        raise BadSampleError("caption_not_utf8", f"not UTF-8 at byte {error.start}: {shown}") from error


def _encoded(caption: str) -> bytes:
    try:
        return caption.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadSampleError(
            "caption_not_utf8", f"half a surrogate pair at {error.start} of the json's caption"
        ) from error


def _key(found: object) -> str | None:
    """A key that may be one of ours: text of Unicode."""
    key = _text(found)
    return None if key is None or any("\ud800" <= char <= "\udfff" for char in key) else key


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _url(found: object) -> str | None:
    url = _text(found)
    if url is not None:
        try:
            url.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadSampleError("bad_json", "half a surrogate pair in the json's url") from error
    return url


def _side(found: object) -> int | None:
    """A width or height in pixels."""
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= _LARGEST_SIDE:
        return found
    return None
