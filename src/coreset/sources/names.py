"""Keys as names of files and of members of a tar, and back: what an export writes and `tars` reads again.

A key may hold dots and slashes, and any letter there is. In a name, a dot begins the ending, a slash ends a
folder, and loaders look for words of their own. So letters and digits of ASCII, `-` and `_` stay, and every
other byte is written as `~` and two hexadecimal digits. No two keys get one name.
"""

from __future__ import annotations

import re

from xxhash import xxh3_128_hexdigest

LONGEST = 200
"""Bytes of a name without its ending; file systems take 255, and some tools add to a name."""
_KEPT = 160
_ODD = re.compile(rb"[^A-Za-z0-9_-]")
_TRAPS = re.compile(r"o(?=cr)|V(?=G_100K)")  # MGM's loader rewrites paths that hold these words
_ESCAPED = re.compile(rb"~([0-9A-F]{2})")


def name_of(key: str) -> str:
    """The name of a file, without its ending, that stands for a key.

    Escaped keys of more than `LONGEST` bytes are cut, and end in `~~` and a hash of the whole key: only those
    cannot be turned back.

    Example:
        >>> name_of("000000123"), name_of("cats/v1.2"), name_of("é")
        ('000000123', 'cats~2Fv1~2E2', '~C3~A9')
        >>> name_of("ocr_VG_100K_2")
        '~6Fcr_~56G_100K_2'
    """
    name = _ODD.sub(lambda found: b"~%02X" % found[0][0], key.encode()).decode()
    name = _TRAPS.sub(lambda found: f"~{ord(found[0]):02X}", name)
    return name if len(name) <= LONGEST else f"{name[:_KEPT]}~~{xxh3_128_hexdigest(key.encode())}"


def key_of(name: str) -> str | None:
    """The key that a name stands for; None if it is no such name, or was cut.

    Example:
        >>> key_of("cats~2Fv1~2E2"), key_of("a.b"), key_of("~~0")
        ('cats/v1.2', None, None)
    """
    content = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), name.encode())
    try:
        key = content.decode()
    except UnicodeDecodeError:
        return None
    return key if name_of(key) == name else None
