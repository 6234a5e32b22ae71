"""The 512-byte headers of a tar and the records of its pax headers, read strictly.

Three dialects are read: ustar (POSIX 1988), pax (POSIX 2001) and GNU. A header whose checksum is wrong, a
number that is not one, a size below zero: each raises `BrokenShardError`, since nothing behind it can be
trusted.

Source: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar
    Format".
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from coreset.sources.bytestream import BLOCK, BrokenShardError

_FIELDS = struct.Struct("100s 24x 12s 12x 8s c 100x 8s 80x 155s 12x")
_POSIX_MAGIC = b"ustar\x0000"
_ADLER = 65521
_LARGEST_SUM = 255 * BLOCK


class Header(NamedTuple):
    """What one header block says, before the extension headers in front of it."""

    name: bytes
    size: int
    kind: bytes
    goes_on: bool = False  # GNU's sparse files: another block of this header follows


def parse_header(block: bytes) -> Header:
    """The name, the size and the kind that a header block states.

    Raises:
        BrokenShardError: The checksum is wrong, or the size is not a number from 0.

    Example:
        >>> import tarfile
        >>> member = tarfile.TarInfo("cats/007.jpg")
        >>> member.size = 1503
        >>> parse_header(member.tobuf(tarfile.USTAR_FORMAT))
        Header(name=b'cats/007.jpg', size=1503, kind=b'0', goes_on=False)
    """
    name, size, checksum, kind, magic, prefix = _FIELDS.unpack(block)
    _check_sum(block, checksum)
    name = name.partition(b"\0")[0]
    # In GNU's dialect these bytes hold times, and in the oldest one nothing: only POSIX keeps a folder there.
    if magic == _POSIX_MAGIC and prefix[0]:
        name = prefix.partition(b"\0")[0] + b"/" + name
    return Header(name, parse_number(size), kind, kind == b"S" and block[482] != 0)


def parse_number(field: bytes) -> int:
    r"""The number in a header field: octal digits, or GNU's binary form for what they cannot hold.

    Raises:
        BrokenShardError: Neither form, or negative.

    Example:
        >>> parse_number(b"00000002737" + bytes(1)), parse_number(b"\x80" + bytes(6) + b"\x02" + bytes(4))
        (1503, 8589934592)
    """
    first = field[0]
    if first >= 0x80:
        if first & 0x40:
            raise BrokenShardError("damaged_shard", "a header states a negative number")
        return int.from_bytes(field) & ~(0x80 << 8 * (len(field) - 1))
    digits = field.partition(b"\0")[0].strip(b" ")
    # int() alone would also take signs and underscores.
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass
    elif not digits:
        return 0
    raise BrokenShardError("damaged_shard", f"a header states {digits!r} where a number should be")


def parse_pax(records: bytes) -> dict[bytes, bytes]:
    r"""The records of a pax header, each `LENGTH KEY=VALUE` and a line feed; the last of one key counts.

    Raises:
        BrokenShardError: A length does not fit, or a part is missing.

    Example:
        >>> parse_pax(b"19 path=cats/7.jpg\n11 size=15\n")
        {b'path': b'cats/7.jpg', b'size': b'15'}
    """
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(records):
        # A length of more than 8 digits is beyond every limit, and int() of a million digits takes for ever.
        digits, space, _ = records[at : at + 9].partition(b" ")
        end = at + int(digits) if space and digits.isdigit() else 0
        record = records[at + len(digits) + 1 : end]
        key, equals, text = record.partition(b"=")
        if end > len(records) or not equals or not key or not text.endswith(b"\n"):
            raise BrokenShardError("damaged_shard", f"a pax record is malformed at byte {at}")
        found[key] = text[:-1]
        at = end
    return found


def parse_pax_size(text: bytes) -> int:
    """The size that a pax header states, in decimal digits.

    Raises:
        BrokenShardError: Not such a number.
    """
    if not text.isdigit() or len(text) > 20:
        raise BrokenShardError("damaged_shard", f"a pax header states the size {text[:20]!r}")
    return int(text)


def _check_sum(block: bytes, field: bytes) -> None:
    """Raise unless the header's bytes, its own checksum taken as spaces, add up to what it states."""
    stated = parse_number(field)
    # Adler-32 begins with 1 and adds up all bytes in its lower half: the sum modulo 65521, much faster than
    # sum(). Two sums that differ by the modulus would need more than 256 changed bytes.
    adler = zlib.adler32(block[156:], zlib.adler32(block[:148])) & 0xFFFF
    if (stated - 8 * 32 + 1) % _ADLER == adler and stated <= _LARGEST_SUM:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:])
    if stated != signed + 8 * 32:
        raise BrokenShardError("damaged_shard", "the checksum of a header is wrong")
