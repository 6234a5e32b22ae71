"""Captions and the json of a sample: missing, no text, far too long, or meant to harm who shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bad_inputs.case import MIB, ShardCase, between, caption, png
from strategies_tars import sample

TXT = caption("b").encode()
LONGEST = 64 << 10


def txt(name: str, given: str, content: bytes | None, reason: str) -> ShardCase:
    """A caption that cannot be used."""
    parts = {"png": png("b"), **({} if content is None else {"txt": content})}
    return ShardCase(name, given, between(lambda key: sample(key, **parts)), "az", (f"b {reason}",))


def fields(name: str, given: str, content: bytes, reason: str) -> ShardCase:
    """A json that cannot be used, beside a good caption."""
    made = between(lambda key: sample(key, png=png("b"), txt=TXT, json=content))
    return ShardCase(name, given, made, "az", (f"b {reason}",))


def kept(name: str, given: str, effect: str, text: str, parts: dict[str, bytes] | None = None) -> ShardCase:
    """A caption that stays as it stands."""
    found = {"txt": text.encode()} if parts is None else parts

    def check(rows: dict[str, dict[str, Any]], folder: Path) -> None:
        assert rows["b"]["caption"] == text

    made = between(lambda key: sample(key, png=png("b"), **found))
    return ShardCase(name, given, made, "abz", effect=effect, check=check)


def field(effect: str, name: str, given: str, said: dict[str, object], **expected: object) -> ShardCase:
    """A field of a json that is not what its name promises."""

    def check(rows: dict[str, dict[str, Any]], folder: Path) -> None:
        assert {key: rows["b"][key] for key in expected} == expected

    made = between(lambda key: sample(key, png=png("b"), txt=TXT, json=json.dumps(said).encode()))
    return ShardCase(name, given, made, "abz", effect=effect, check=check)


AS_IT_STANDS = "stored as it stands"
SHOWN = "stored as it stands; what is shown on a terminal has no control characters"

CAPTIONS = [
    txt("no caption", "a picture without a caption", None, "no_caption"),
    txt("empty caption", "a .txt of 0 bytes", b"", "no_caption"),
    txt(
        "blank caption",
        "a caption of spaces, tabs and an ideographic space",
        " \t\r\n\u3000\u00a0".encode(),
        "no_caption",
    ),
    txt("Latin-1", "a caption in Latin-1", "Müller's café".encode("latin-1"), "caption_not_utf8"),
    txt("UTF-16", "a caption in UTF-16", "a lamp".encode("utf-16"), "caption_not_utf8"),
    txt("half a character", "a caption cut inside a character", "a lamp 猫".encode()[:-1], "caption_not_utf8"),
    txt("lone surrogate", "a caption with half a surrogate pair", b"a \xed\xa0\x80 lamp", "caption_not_utf8"),
    txt("overlong slash", "a caption with an overlong form of a slash", b"a \xc0\xaf lamp", "caption_not_utf8"),
    txt("caption of 1 MB", "a caption of 1 MB", b"lamp " * (MIB // 5), "caption_too_long"),
    txt("one byte too long", "a caption of 64 KiB and a byte", b"x" * (LONGEST + 1), "caption_too_long"),
    kept("64 KiB", "a caption of 64 KiB", "stored whole; the model reads its first tokens", "x" * LONGEST),
    kept("NUL", "a caption with a NUL", SHOWN, "a\0lamp"),
    kept("escape sequence", "a caption that sets a terminal's title", SHOWN, "a \x1b]0;owned\x07 lamp"),
    kept("bidirectional controls", "a caption with right-to-left overrides", SHOWN, "a \u202e\u2066pmal\u2069 lamp"),
    kept("zero width", "a caption of joiners and no width", AS_IT_STANDS, "👩\u200d👩\u200d👧 \u200b\ufeff lamp"),
    kept("byte order mark", "a caption that begins with a byte order mark", AS_IT_STANDS, "\ufeffa lamp"),
    kept("script", "HTML and a script", AS_IT_STANDS, "</td><script>alert(1)</script><img src=x onerror=alert(1)>"),
    kept("formula", "a spreadsheet's formula", AS_IT_STANDS, "=cmd|' /C calc'!A0"),
    kept("rich markup", "rich's markup", AS_IT_STANDS, "[red]a lamp[/red] [link=file:///etc/passwd]x[/link]"),
    kept(
        "tokens of the model",
        "the names of the tokenizer's own tokens",
        AS_IT_STANDS,
        "<start_of_text>a lamp<end_of_text>" * 40,
    ),
    kept("one long word", "one word of 60,000 letters", AS_IT_STANDS, "a" * 60_000),
    kept("every plane", "characters of every plane, unassigned ones too", AS_IT_STANDS, "\U000e0001\U0010ffff\uffff x"),
    kept(
        "caption of the json",
        "no .txt, but a caption in the json",
        "that one is taken",
        "a lamp",
        {"json": b'{"caption": "a lamp"}'},
    ),
    kept(
        "blank txt",
        "a blank .txt beside a caption in the json",
        "that one is taken",
        "a lamp",
        {"txt": b" \n", "json": b'{"caption": "a lamp"}'},
    ),
]

JSONS = [
    fields("json not UTF-8", "a json in Latin-1", b'{"url": "caf\xe9"}', "bad_json"),
    fields("json of garbage", "a json that is none", b"<html>", "bad_json"),
    fields("json cut", "a json cut in half", b'{"url": "http://x.or', "bad_json"),
    fields("json of a list", "a json that is a list", b"[1]", "bad_json"),
    fields("json nested deep", "a json of 100,000 brackets", b"[" * 100_000, "bad_json"),
    fields(
        "number of 5,000 digits", "a json with a number of 5,000 digits", b'{"width": ' + b"9" * 5000 + b"}", "bad_json"
    ),
    fields("json of 5 MiB", "a json larger than 4 MiB", b'{"x": "' + b"x" * 5 * MIB + b'"}', "member_too_large"),
    fields("surrogate in a url", "a json whose url has half a surrogate pair", b'{"url": "\\ud800"}', "bad_json"),
    ShardCase(
        "surrogate in a json caption",
        "a json whose caption has half a surrogate pair",
        between(lambda key: sample(key, png=png("b"), json=b'{"caption": "\\ud800"}')),
        "az",
        ("b caption_not_utf8",),
    ),
    ShardCase(
        "caption that is a number",
        "a json whose caption is a number",
        between(lambda key: sample(key, png=png("b"), json=b'{"caption": 7}')),
        "az",
        ("b no_caption",),
    ),
    field("the width is null", "infinite width", "a json with a width of 1e999", {"width": float("inf")}, width=None),
    field(
        "they are null",
        "sides that are none",
        "a json with a width of -1 and a height of text",
        {"width": -1, "height": "big"},
        width=None,
        height=None,
    ),
    field(
        "the width is null", "width beyond int32", "a json with a width of 2 to the 40", {"width": 2**40}, width=None
    ),
    field(
        "they are null",
        "hashes that are none",
        "a json with a hash of the wrong length",
        {"sha256": "abc", "md5": 5},
        sha256=None,
        md5=None,
    ),
    field(
        "it is text in a column; nothing is ever fetched",
        "url of a script",
        "a url of javascript: or file:",
        {"url": "javascript:alert(1)"},
        url="javascript:alert(1)",
    ),
]

SHARDS = [*CAPTIONS, *JSONS]
